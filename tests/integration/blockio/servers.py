"""Real NBD servers for tests: nbdkit with its filters, which fail and dawdle on demand."""

from __future__ import annotations

import os
import shutil
import socket as sockets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BOUND_S = 10.0

#: The socket comes as standard input and must be descriptor 3, as systemd hands it over.
_BECOME_NBDKIT = 'LISTEN_PID=$$ LISTEN_FDS=1 exec nbdkit "$@" 3<&0 </dev/null'


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    uri: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Ends it like a crash."""
        self.process.kill()
        self.process.wait(BOUND_S)


@contextmanager
def nbdkit(folder: Path, *arguments: str) -> Iterator[Server]:
    """nbdkit on a unix socket; who connects waits until it serves."""
    path = folder / "nbdkit.sock"
    path.unlink(missing_ok=True)
    with sockets.socket(sockets.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        process = subprocess.Popen(
            ["sh", "-c", _BECOME_NBDKIT, "sh", "--foreground", *arguments],
            stdin=listener.fileno(),
            stderr=subprocess.DEVNULL,
        )
    try:
        yield Server(f"nbd+unix:///?socket={path}", process)
    finally:
        process.kill()
        process.wait(BOUND_S)


@contextmanager
def silent_server(folder: Path) -> Iterator[str]:
    """URI of a server that accepts, and never says a word."""
    path = folder / "silent.sock"
    with sockets.socket(sockets.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        yield f"nbd+unix:///?socket={path}"


def make_image(path: Path, image_format: str, size_bytes: int, *commands: str) -> None:
    """A new image, written by these commands of qemu-io."""
    tool("qemu-img", "create", "-q", "-f", image_format, str(path), str(size_bytes))
    write_image(path, image_format, *commands)


def write_image(path: Path, image_format: str, *commands: str) -> None:
    """Runs commands of qemu-io, such as `write -P 7 0 64k`, `write -z 0 64k`, `discard 0 64k`."""
    if commands:
        given = [argument for command in commands for argument in ("-c", command)]
        tool("qemu-io", "-d", "unmap", "-f", image_format, *given, str(path))


def content(path: Path, image_format: str) -> bytes:
    """What a guest would read, by qemu-img alone."""
    raw = path.with_suffix(".reference")
    tool("qemu-img", "convert", "-f", image_format, "-O", "raw", str(path), str(raw))
    data = raw.read_bytes()
    raw.unlink()
    return data


def tool(*arguments: str) -> str:
    """Runs a program of the host, which must succeed."""
    assert shutil.which(arguments[0]) is not None, f"{arguments[0]} is not installed"
    result = subprocess.run(
        arguments,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert result.returncode == 0, f"{arguments}: {result.stdout} {result.stderr}"
    # qemu-io reports a failed command in words only.
    assert "failed" not in result.stdout, f"{arguments}: {result.stdout}"
    return result.stdout


def priority_of(thread: int) -> tuple[int, str]:
    """The nice value, and what `ionice` says."""
    stat = Path(f"/proc/{thread}/stat").read_text(encoding="utf-8")
    return int(stat.rpartition(") ")[2].split()[16]), tool("ionice", "-p", str(thread)).strip()

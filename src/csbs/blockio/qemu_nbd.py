"""A disk image, served over NBD by `qemu-nbd`.

    we       bind and listen on the socket, then start a shell in a session of its own
    shell    writes its own record (boot id, /proc/<pid>/stat), then becomes qemu-nbd
    we       connect; the server's greeting means that the image is open

The socket is handed over as systemd hands sockets to services, so nothing has to be polled: a
connection waits in the socket's queue, and breaks when qemu-nbd ends.  The record is written by
the process itself, so a crash of ours leaves no qemu-nbd that could not be found again.
"""

from __future__ import annotations

import logging
import os
import socket as sockets
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote, urlencode

from csbs.blockio.priority import lower_priority
from csbs.blockio.processes import shown
from csbs.domain.errors import ToolFailed

log = logging.getLogger(__name__)

_TOOL = "qemu-nbd"
#: `$0` is the record's path; the socket comes as standard input and must be descriptor 3.
_BECOME_QEMU_NBD = (
    'cat /proc/sys/kernel/random/boot_id "/proc/$$/stat" > "$0" || exit 1; '
    'LISTEN_PID=$$ LISTEN_FDS=1 exec qemu-nbd "$@" 3<&0 </dev/null'
)
_GREETING = b"NBDMAGIC"
#: Closing an image writes its caches and bitmaps; on a slow disk that takes a while.
_STOP_TIMEOUT_S = 60.0
#: What QEMU says of an image that it could not close well, in spite of exit code 0.
_CLOSED_BADLY = "Failed to flush"
_DIRECT_ALIGNMENT = 4096
_BITMAPS_LOST = "Lost persistent bitmaps"
#: struct sockaddr_un has 108 bytes, the last is zero.
_SOCKET_PATH_SIZE_MAX = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class NbdImage:
    """An image and how it is served."""

    path: str
    format: str
    #: Name of the NBD export.
    export: str
    read_only: bool
    #: A persistent bitmap to offer as meta context `qemu:dirty-bitmap:<bitmap>`.
    bitmap: str | None = None
    #: As many threads as may be set, one that plans, and some to spare.
    connections_max: int = 40
    #: Its qemu-nbd gets less of the host than others do.
    low_priority: bool = False


class QemuNbd:
    """A running qemu-nbd.  It ends by `stop`, or at the end of a `with` block."""

    def __init__(
        self,
        image: NbdImage,
        *,
        socket: Path,
        pid_file: Path | None,
        process: subprocess.Popen[bytes],
        messages: IO[bytes],
    ) -> None:
        self._image = image
        self._socket = socket
        self._pid_file = pid_file
        self._process = process
        self._messages = messages

    @property
    def uri(self) -> str:
        """NBD URI of the export."""
        return nbd_uri(self._socket, self._image.export)

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process has not ended by itself."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Lets clients go, flushes and closes the image, and waits for that.  May be repeated.

        Raises `ToolFailed` naming the image if it was not closed well, or is still not closed
        after a minute; a reader is killed then, a writer goes on and keeps the image locked.
        """
        if self._messages.closed:
            return
        if self.is_running():
            self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._give_up()
            raise self._failed(f"no end within {_STOP_TIMEOUT_S:g} s") from None
        code, said = self._process.returncode, self._said()
        self._forget()
        if code != 0 or _CLOSED_BADLY in said:
            raise self._failed(said or f"exit code {code}")
        if _BITMAPS_LOST in said:
            log.warning("tracking was lost", extra={"image": self._image.path, "why": said})

    def leave_running(self) -> None:
        """Lets the process go on after us, so that the image stays locked.

        Whoever ends it finds it by its record.
        """
        self._messages.close()
        if self.is_running():
            # Popen would warn of a child that nobody waits for: here that is the purpose.
            self._process.returncode = 0

    def end_failed_start(self) -> str:
        """Ends a server that did not come up; returns what it said."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # one that failed is about to end by itself, with its reason
        self._process.kill()
        self._process.wait(_STOP_TIMEOUT_S)
        said = self._said()
        self._forget()
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _give_up(self) -> None:
        if self._image.read_only:
            self._process.kill()
            self._process.wait(_STOP_TIMEOUT_S)
            self._forget()
        else:
            self.leave_running()

    def _forget(self) -> None:
        self._messages.close()
        self._socket.unlink(missing_ok=True)
        if self._pid_file is not None:
            self._pid_file.unlink(missing_ok=True)

    def _failed(self, why: str) -> ToolFailed:
        return ToolFailed(_TOOL, f"serving {self._image.path}", why)

    def _said(self) -> str:
        self._messages.seek(0)
        return shown(self._messages.read().decode("utf-8", "replace"))


def start_qemu_nbd(
    image: NbdImage, *, socket: Path, pid_file: Path | None, timeout_s: float = 10.0
) -> QemuNbd:
    """Serves the image on a new unix socket; returns when a client can connect.

    The process is in a session of its own and survives ours.  `pid_file` gets its record (see
    `csbs.blockio.processes`).  Raises `ToolFailed` naming the image if it cannot be opened (it is
    missing, another process has it, the bitmap is broken) or `timeout_s` is over; then nothing
    is left behind.
    """
    doing = f"serving {image.path}"
    listener = _listen(socket, image.connections_max, doing)
    messages = tempfile.TemporaryFile()  # noqa: SIM115  `QemuNbd` closes it
    try:
        process = subprocess.Popen(
            ["sh", "-c", _BECOME_QEMU_NBD, str(pid_file or os.devnull), *_arguments(image)],
            stdin=listener.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=messages,
            start_new_session=True,
        )
    except OSError as error:
        messages.close()
        socket.unlink(missing_ok=True)
        raise ToolFailed(_TOOL, doing, error.strerror or str(error)) from error
    finally:
        listener.close()
    server = QemuNbd(image, socket=socket, pid_file=pid_file, process=process, messages=messages)
    try:
        greeting = _greeting(socket, timeout_s)
    except BaseException:
        server.end_failed_start()
        raise
    if greeting == _GREETING:
        if image.low_priority:
            lower_priority(process.pid)
        return server
    slow = greeting is None
    why = f"no answer within {timeout_s:g} s" if slow else "it is not an NBD server"
    raise ToolFailed(_TOOL, doing, server.end_failed_start() or why)


def passes_cache(image: NbdImage) -> bool:
    """Whether what is written can go past the host's page cache.

    That halves what writing costs, and leaves the cache to the servers of the host.  A file system
    may not know how; and QEMU could make a raw file grow whose end is not aligned.
    """
    try:
        descriptor = os.open(image.path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)
    return image.format != "raw" or end % _DIRECT_ALIGNMENT == 0


def nbd_uri(socket: Path, export: str) -> str:
    """The NBD URI of an export on a unix socket."""
    return f"nbd+unix:///{quote(export)}?{urlencode({'socket': str(socket)}, quote_via=quote)}"


def _arguments(image: NbdImage) -> list[str]:
    arguments = [
        "--persistent",
        f"--shared={image.connections_max}",
        f"--export-name={image.export}",
        f"--format={image.format}",
    ]
    if image.bitmap is not None:
        arguments.append(f"--bitmap={image.bitmap}")
    if image.read_only:
        arguments.append("--read-only")
    else:
        # Zeroes that a client writes may become holes; flushes reach the disk.
        cache = "none" if passes_cache(image) else "writeback"
        arguments += ["--discard=unmap", f"--cache={cache}"]
    return [*arguments, "--", image.path]


def _listen(socket: Path, connections_max: int, doing: str) -> sockets.socket:
    if len(os.fsencode(socket)) > _SOCKET_PATH_SIZE_MAX:
        raise ToolFailed(_TOOL, doing, f"the path of the socket is too long: {socket}")
    listener = sockets.socket(sockets.AF_UNIX)
    try:
        listener.bind(str(socket))
        socket.chmod(0o600)
        listener.listen(connections_max)
    except OSError as error:
        listener.close()
        raise ToolFailed(_TOOL, doing, f"{socket}: {error.strerror}") from error
    return listener


def _greeting(socket: Path, timeout_s: float) -> bytes | None:
    """The first bytes that the server sends; nothing if it ended, None if it took too long."""
    with sockets.socket(sockets.AF_UNIX) as client:
        client.settimeout(timeout_s)
        try:
            client.connect(str(socket))
            return client.recv(len(_GREETING), sockets.MSG_WAITALL)
        except TimeoutError:
            return None
        except OSError:  # refused or reset: it has ended
            return b""

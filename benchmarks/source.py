"""The disk that is backed up: the machine's own files in ext4."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.settings import DISK_SIZE_BYTES
from csbs.blockio.processes import run_tool
from csbs.domain.errors import ToolFailed

#: Taken one after another until there is enough.
FILES_OF = (Path("/usr"), Path("/opt"), Path("/var/lib/dpkg"))
_TIMEOUT_S = 600.0


class ImagesDiffer(Exception):
    """A restored image is not what was backed up: no number of such a run is worth anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One disk, twice."""

    #: Sparse; what restores are compared with, and what file backup programs read.
    raw: Path
    qcow2: Path
    #: In files, and in blocks of the raw image.
    files_bytes: int
    allocated_bytes: int


def make_source(folder: Path, *, files_bytes: int) -> Source:
    """Makes an 8 GiB disk with so many bytes of the machine's files.  Raises `ToolFailed`."""
    tree, raw, qcow2 = folder / "tree", folder / "source.raw", folder / "source.qcow2"
    taken_bytes = _copy_files(tree, files_bytes)
    size = str(DISK_SIZE_BYTES // 1024) + "k"
    _run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", str(tree), str(raw), size)
    shutil.rmtree(tree)
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(qcow2))
    return Source(
        raw=raw,
        qcow2=qcow2,
        files_bytes=taken_bytes,
        allocated_bytes=raw.stat().st_blocks * 512,
    )


def compare(one: Path, other: Path, *, one_format: str = "raw", other_format: str) -> None:
    """Raises `ImagesDiffer` unless both images can be read, and read the same."""
    formats = ["-f", one_format, "-F", other_format]
    try:
        _run("qemu-img", "compare", *formats, str(one), str(other))
    except ToolFailed as error:
        raise ImagesDiffer(f"{other} is not as {one}: {error.why}") from error


def _run(*command: str) -> None:
    run_tool(command, doing=" ".join(command[1:]), timeout_s=_TIMEOUT_S)


def _copy_files(tree: Path, size_bytes: int) -> int:
    """Copies files into `tree` until they have this size; returns what they have."""
    taken_bytes = 0
    for path, path_bytes in _files():
        if taken_bytes + path_bytes > size_bytes:
            continue
        place = tree / path.relative_to("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        taken_bytes += path_bytes
    return taken_bytes


def _files() -> Iterator[tuple[Path, int]]:
    for top in FILES_OF:
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    yield path, path.stat().st_size

"""Large objects pass by the page cache, byte for byte, where the file system knows how."""

from __future__ import annotations

import errno
import fcntl
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csbs.repository.objectstore.direct_io import DIRECT_SIZE_MIN, read_range, write_parts

MIB = 1024 * 1024
SIZES = (
    0,
    1,
    DIRECT_SIZE_MIN - 1,
    DIRECT_SIZE_MIN,
    DIRECT_SIZE_MIN + 1,
    4 * MIB,
    4 * MIB + 4096,
    9 * MIB + 4095,
)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def random_bytes(size_bytes: int) -> bytes:
    return random.Random(size_bytes).randbytes(size_bytes)


def cut(data: bytes, sizes: tuple[int, ...]) -> list[bytes]:
    """The data in parts of these sizes, and what is left."""
    parts, at = [], 0
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    return [*parts, data[at:]]


def is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)


@pytest.mark.parametrize("size_bytes", SIZES)
@pytest.mark.parametrize("sizes", [(), (7, 4096, 0, 100_000), (MIB, MIB, MIB)])
def test_the_file_has_the_parts_one_after_another(
    tmp_path: Path, size_bytes: int, sizes: tuple[int, ...]
) -> None:
    data = random_bytes(size_bytes)
    with opened(tmp_path / "file") as file:
        write_parts(file, cut(data, sizes))
    assert (tmp_path / "file").read_bytes() == data


def test_a_range_is_read_as_it_is_wherever_it_lies(tmp_path: Path) -> None:
    data = random_bytes(9 * MIB + 4095)
    (tmp_path / "file").write_bytes(data)
    chance = random.Random(0)
    edges = [0, 1, 4095, 4096, MIB, 4 * MIB, len(data) - 1, len(data), len(data) + 5000]
    edges += [chance.randrange(len(data)) for _ in range(6)]
    for start in edges:
        for end in edges:
            if start <= end:
                with opened(tmp_path / "file") as file:
                    assert read_range(file, start, end - start) == data[start:end]


def test_large_objects_pass_by_the_cache_and_small_ones_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    write = os.write

    def watched(descriptor: int, data: memoryview) -> int:
        seen.append(is_direct(descriptor))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", watched)
    with opened(tmp_path / "large") as file:
        write_parts(file, [random_bytes(5 * MIB + 1)])
    with opened(tmp_path / "small") as file:
        write_parts(file, [b"small"])
    assert seen == [True, True, False, False]  # 4 MiB, 1 MiB, the last byte; the small one


def test_a_file_system_that_cannot_gets_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.fcntl

    def refuse(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETFL and argument & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    data = random_bytes(5 * MIB + 1)
    with opened(tmp_path / "file") as file:
        write_parts(file, cut(data, (MIB,)))
        assert read_range(file, 1, len(data)) == data[1:]


def test_what_the_file_system_refuses_only_when_it_is_done_goes_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, preadv = os.write, os.preadv

    def write_cached(descriptor: int, data: memoryview) -> int:
        if is_direct(descriptor):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return write(descriptor, data)

    def read_cached(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        if offset > 0:  # not at once, but in the middle
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "write", write_cached)
    monkeypatch.setattr(os, "preadv", read_cached)
    data = random_bytes(9 * MIB + 1)
    with opened(tmp_path / "file") as file:
        write_parts(file, [data])
        assert read_range(file, 5, len(data)) == data[5:]


def test_short_writes_and_reads_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, preadv = os.write, os.preadv
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:8191]))
    monkeypatch.setattr(
        os, "preadv", lambda fd, buffers, at: preadv(fd, [buffers[0][: MIB + 512]], at)
    )
    data = random_bytes(3 * MIB + 1)
    with opened(tmp_path / "file") as file:
        write_parts(file, [data])
        assert read_range(file, 3, len(data) - 3) == data[3:]


def test_other_errors_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with opened(tmp_path / "file") as file, pytest.raises(OSError, match="No space left"):
        write_parts(file, [random_bytes(2 * MIB)])

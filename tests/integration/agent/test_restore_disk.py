"""Restoring one disk to real NBD servers, compared with what qemu-img reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.agent.rate_limit import RateLimit
from csbs.agent.restore_disk import RestoreOptions, RestoreResult
from csbs.blockio.nbd import NbdLimits
from csbs.domain.clock import monotonic
from csbs.domain.errors import Corrupt, DiskUnreadable, OperationCancelled
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import Image
from csbs.repository.objectstore import MemoryStore
from tests.integration.agent.engine import DISK, Engine, leftovers, open_engine, serve
from tests.integration.blockio.servers import content, make_image, nbdkit, tool, write_image

KIB, MIB, GIB = 1024, 1024**2, 1024**3


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path) as engine:
        yield engine


def stored(engine: Engine, folder: Path, size: int, *commands: str) -> tuple[Image, bytes]:
    """An image of a disk that qemu-io wrote, and its bytes."""
    image = stored_image(engine, folder, size, *commands)
    return image, content(folder / "source", "qcow2")


def stored_image(engine: Engine, folder: Path, size: int, *commands: str) -> Image:
    source = folder / "source"
    make_image(source, "qcow2", size, *commands)
    with serve(source, "qcow2") as server:
        return engine.back_up(server.uri, size).image


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(8 * MIB, id="whole blocks"),
        pytest.param(5 * MIB + 512, id="a sector more"),
        pytest.param(5 * MIB - 512, id="a sector less"),
    ],
)
@pytest.mark.parametrize("more", [0, 512, MIB + 512], ids=["as large", "larger", "much larger"])
def test_a_disk_with_old_data_becomes_the_image(
    tmp_path: Path, engine: Engine, image_format: str, size: int, more: int
) -> None:
    image, expected = stored(
        engine,
        tmp_path,
        size,
        "write -P 1 0 64k",
        "write -P 2 1M 300k",
        f"write -P 3 {size - 512} 512",
    )
    disk = tmp_path / "disk"
    make_image(disk, image_format, size + more, f"write -P 9 0 {size + more}")

    with serve(disk, image_format, read_only=False) as server:
        result = engine.restore(image, server.uri)

    assert content(disk, image_format) == expected + bytes(more)
    assert result.written_bytes + result.zeroed_bytes == size + more
    assert engine.reports[-1].done_bytes == engine.reports[-1].total_bytes == size + more


def test_holes_are_not_written(tmp_path: Path, engine: Engine) -> None:
    image = stored_image(engine, tmp_path, 100 * GIB, "write -P 1 50G 1M")
    disk = tmp_path / "disk"
    make_image(disk, "qcow2", 100 * GIB, "write -P 9 10G 16M")

    with serve(disk, "qcow2", read_only=False) as server:
        result = engine.restore(image, server.uri)

    assert result.written_bytes == MIB
    data = [line for line in tool("qemu-img", "map", str(disk)).splitlines() if "0x" in line]
    assert len(data) == 1
    assert int(data[0].split()[0], 16) == 50 * GIB


def test_blocks_that_compress_to_nothing_need_no_memory(tmp_path: Path, engine: Engine) -> None:
    """The whole disk lies in one small range of one pack, and is written in bounded parts."""
    image, expected = stored(engine, tmp_path, 96 * MIB, "write -P 1 0 96M")
    disk = tmp_path / "disk"
    make_image(disk, "raw", 96 * MIB)

    with serve(disk, "raw", read_only=False) as server:
        engine.restore(image, server.uri)

    assert content(disk, "raw") == expected


def test_a_persistent_bitmap_records_what_is_restored(tmp_path: Path, engine: Engine) -> None:
    image, expected = stored(engine, tmp_path, 8 * MIB, "write -P 1 0 4M")
    disk = tmp_path / "disk"
    make_image(disk, "qcow2", 8 * MIB, "write -P 9 0 8M")
    with serve(disk, "qcow2") as server:
        parent = engine.back_up(server.uri, 8 * MIB).image
    tool("qemu-img", "bitmap", "--add", "-f", "qcow2", str(disk), "b")
    with serve(disk, "qcow2", read_only=False) as server:
        engine.restore(image, server.uri)

    with serve(disk, "qcow2", bitmap="b") as server:
        again = engine.back_up(
            server.uri, 8 * MIB, parent=parent, dirty_context="qemu:dirty-bitmap:b"
        ).image

    assert engine.content(again) == expected == content(disk, "qcow2")


def test_a_server_whose_connections_do_not_agree_gets_one(tmp_path: Path, engine: Engine) -> None:
    """All writes go over one connection then, which is flushed."""
    image, expected = stored(engine, tmp_path, 8 * MIB, "write -P 1 0 3M", "write -P 2 5M 1M")
    log, disk = tmp_path / "log", tmp_path / "disk"
    disk.write_bytes(b"\x09" * 8 * MIB)
    filters = ("--filter=log", "--filter=multi-conn")
    options = ("multi-conn-mode=disable", f"logfile={log}")

    with nbdkit(tmp_path, *filters, "file", str(disk), *options) as server:
        engine.restore(image, server.uri)

    assert disk.read_bytes() == expected
    lines = log.read_text().splitlines()
    writers = {line.split("connection=")[1].split()[0] for line in lines if " Write " in line}
    flushed = {line.split("connection=")[1].split()[0] for line in lines if " Flush " in line}
    assert len(writers) == 1
    assert flushed == writers


def test_a_disk_with_sectors_of_4_kib(tmp_path: Path, engine: Engine) -> None:
    image, expected = stored(engine, tmp_path, 5 * MIB + 512, f"write -P 3 {5 * MIB} 512")
    disk = tmp_path / "disk"
    disk.write_bytes(b"\x09" * (5 * MIB + 4 * KIB))
    strict = ("blocksize-minimum=4k", "blocksize-error-policy=error")

    with nbdkit(tmp_path, "--filter=blocksize-policy", "file", str(disk), *strict) as server:
        engine.restore(image, server.uri)

    assert disk.read_bytes() == expected + bytes(4 * KIB - 512)


def test_a_disk_that_is_too_small_is_left_alone(tmp_path: Path, engine: Engine) -> None:
    image = stored_image(engine, tmp_path, 2 * MIB, "write -P 1 0 64k")
    disk = tmp_path / "disk"
    disk.write_bytes(b"\x09" * MIB)

    with (
        nbdkit(tmp_path, "file", str(disk)) as server,
        pytest.raises(DiskUnreadable, match=f"{DISK}.*has 1048576 bytes.*needs 2097152"),
    ):
        engine.restore(image, server.uri)

    assert disk.read_bytes() == b"\x09" * MIB


def test_a_read_only_disk_is_an_error(tmp_path: Path, engine: Engine) -> None:
    image = stored_image(engine, tmp_path, MIB, "write -P 1 0 64k")

    with (
        nbdkit(tmp_path, "-r", "memory", "1M") as server,
        pytest.raises(DiskUnreadable, match="it is read-only"),
    ):
        engine.restore(image, server.uri)


@pytest.mark.parametrize(
    ("fault", "doing"),
    [
        ("error-pwrite-rate=100%", "writing"),
        ("error-zero-rate=100%", "zeroing"),
    ],
)
def test_a_disk_that_fails_is_an_error(
    tmp_path: Path, engine: Engine, fault: str, doing: str
) -> None:
    image = stored_image(engine, tmp_path, 4 * MIB, "write -P 1 0 1M")
    disk = tmp_path / "disk"
    disk.write_bytes(b"\x09" * 4 * MIB)

    with (
        nbdkit(tmp_path, "--filter=error", "file", str(disk), fault, "error=ENOSPC") as server,
        pytest.raises(DiskUnreadable, match=f"{DISK}: {doing} .*No space left on device"),
    ):
        engine.restore(image, server.uri)


def test_a_flush_that_fails_is_an_error(tmp_path: Path, engine: Engine) -> None:
    image = stored_image(engine, tmp_path, MIB, "write -P 1 0 64k")
    failing = (
        "get_size=echo 1048576",
        "pread=exit 1",
        "pwrite=cat >/dev/null",
        "zero=exit 0",
        "can_write=exit 0",
        "can_zero=exit 0",
        "can_flush=exit 0",
        "flush=echo EIO the disk is gone >&2; exit 1",
    )

    with (
        nbdkit(tmp_path, "eval", *failing) as server,
        pytest.raises(DiskUnreadable, match=f"{DISK}: flushing failed"),
    ):
        engine.restore(image, server.uri)


def test_a_server_that_hangs_is_an_error_after_the_limit(tmp_path: Path, engine: Engine) -> None:
    image = stored_image(engine, tmp_path, 4 * MIB, "write -P 1 0 1M")
    engine.writing = RestoreOptions(limits=NbdLimits(answer_timeout_s=0.5))

    with (
        nbdkit(tmp_path, "--filter=delay", "memory", "4M", "delay-write=60") as server,
        pytest.raises(DiskUnreadable, match=r"did not answer within 0\.5 s"),
    ):
        engine.restore(image, server.uri)


def test_a_cancel_ends_a_restore_whose_server_hangs(tmp_path: Path, engine: Engine) -> None:
    image = stored_image(engine, tmp_path, 4 * MIB, "write -P 1 0 1M")

    with nbdkit(tmp_path, "--filter=delay", "memory", "4M", "delay-write=60") as server:
        threading.Timer(0.2, engine.cancel.set).start()
        begun = monotonic()
        with pytest.raises(OperationCancelled, match=DISK):
            engine.restore(image, server.uri)

    assert monotonic() - begun < 1.2 + 0.5


def test_a_cancel_ends_a_restore_that_runs_and_leaves_nothing_behind(
    tmp_path: Path, engine: Engine
) -> None:
    image = stored_image(engine, tmp_path, 4 * MIB, "write -P 1 0 1M")
    engine.on_report = lambda _: engine.cancel.set()
    before = leftovers()

    with nbdkit(tmp_path, "memory", "64G") as server:
        with pytest.raises(OperationCancelled):
            engine.restore(image, server.uri)
        assert set(leftovers()) <= set(before)


def test_a_damaged_pack_is_an_error(tmp_path: Path) -> None:
    store = MemoryStore()
    with open_engine(tmp_path, store) as engine:
        image = stored_image(engine, tmp_path, MIB, "write -P 1 0 64k")
    for info in list(store.list("packs/")):
        data = bytearray(store.get(info.key))
        data[85] ^= 1  # in the first frame
        store.delete(info.key)
        store.put(info.key, [bytes(data)])

    with (
        open_engine(tmp_path, store) as engine,
        nbdkit(tmp_path, "memory", "1M") as server,
        pytest.raises(Corrupt),
    ):
        engine.restore(image, server.uri)


def test_a_restore_may_be_repeated(tmp_path: Path, engine: Engine) -> None:
    image, expected = stored(engine, tmp_path, 4 * MIB, "write -P 1 0 1M", "write -P 2 3M 64k")
    disk = tmp_path / "disk"
    make_image(disk, "raw", 4 * MIB, "write -P 9 0 4M")
    engine.on_report = lambda _: engine.cancel.set()
    with serve(disk, "raw", read_only=False) as server, pytest.raises(OperationCancelled):
        engine.restore(image, server.uri)
    engine.on_report = lambda _: None
    engine.cancel.clear()
    engine.writing = replace(engine.writing, fetch_size_max=BLOCK_SIZE, in_flight_max=1)

    with serve(disk, "raw", read_only=False) as server:
        engine.restore(image, server.uri)

    assert content(disk, "raw") == expected


def test_more_threads_than_a_server_takes_connections(tmp_path: Path, engine: Engine) -> None:
    """As many as the setting `readers` allows."""
    image, expected = stored(engine, tmp_path, 4 * MIB, "write -P 1 0 4M")
    disk = tmp_path / "disk"
    make_image(disk, "raw", 4 * MIB)
    engine.writing = replace(engine.writing, threads=64)

    with serve(disk, "raw", read_only=False) as server:
        engine.restore(image, server.uri)

    assert content(disk, "raw") == expected


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
@pytest.mark.parametrize("more", [0, 512, MIB + 512], ids=["as large", "larger", "much larger"])
def test_what_the_disk_has_already_is_compared_and_not_written(
    tmp_path: Path, engine: Engine, image_format: str, more: int
) -> None:
    size = 8 * MIB - 512
    last = f"write -P 3 {size - 512} 512"
    image, expected = stored(engine, tmp_path, size, "write -P 1 0 3M", "write -P 2 5M 100k", last)
    disk = tmp_path / "disk"
    make_image(disk, image_format, size + more)
    with serve(disk, image_format, read_only=False) as server:
        engine.restore(image, server.uri)
        nothing = engine.restore(image, server.uri)
    write_image(
        disk,
        image_format,
        "write -P 9 64k 512",  # one stored block
        "write -z 1M 128k",  # two
        "write -P 9 4M 64k",  # one that is a hole in the backup
        f"write -P 9 {size - 512} 512",  # the last one
    )

    with serve(disk, image_format, read_only=False) as server:
        result = engine.restore(image, server.uri)

    assert nothing == RestoreResult(written_bytes=0, zeroed_bytes=0, unchanged_bytes=size + more)
    assert content(disk, image_format) == expected + bytes(more)
    assert result.written_bytes == 4 * BLOCK_SIZE - (512 if more == 0 else 0)
    assert result.zeroed_bytes == BLOCK_SIZE
    assert result.written_bytes + result.zeroed_bytes + result.unchanged_bytes == size + more


def test_a_part_that_cannot_be_read_is_written(tmp_path: Path, engine: Engine) -> None:
    image, expected = stored(engine, tmp_path, 4 * MIB, "write -P 1 0 1M")
    disk = tmp_path / "disk"
    disk.write_bytes(b"\x09" * 4 * MIB)

    with nbdkit(tmp_path, "--filter=error", "file", str(disk), "error-pread-rate=100%") as server:
        result = engine.restore(image, server.uri)

    assert disk.read_bytes() == expected
    assert result == RestoreResult(written_bytes=MIB, zeroed_bytes=3 * MIB)


@pytest.mark.parametrize("fresh", [True, False], ids=["written", "compared"])
def test_a_limit_bounds_what_is_read_compared_and_written(
    tmp_path: Path, engine: Engine, *, fresh: bool
) -> None:
    image, expected = stored(engine, tmp_path, 4 * MIB, "write -P 1 0 2M")
    disk = tmp_path / "disk"
    make_image(disk, "raw", 4 * MIB, *([] if fresh else ["write -P 1 0 2M"]))
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    limit = RateLimit(MIB, monotonic=lambda: now, sleep=sleep)
    engine.writing = RestoreOptions(threads=1, rate_limit=limit, fetch_size_max=1)
    with serve(disk, "raw", read_only=False) as server:
        engine.restore(image, server.uri, fresh=fresh)

    assert content(disk, "raw") == expected
    assert 1.9 <= now <= 2.1

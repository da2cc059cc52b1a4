"""Backing up one disk from real NBD servers, compared with what qemu-img reads."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.agent.backup_disk import CopyOptions
from csbs.blockio.nbd import NbdLimits
from csbs.domain.clock import monotonic
from csbs.domain.errors import DiskUnreadable, OperationCancelled
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.task import Progress
from csbs.repository import HOLE, STORED, ZERO, Run
from csbs.repository.errors import StoreFull
from csbs.repository.objectstore import Bytes, MemoryStore
from tests.integration.agent.engine import DISK, Engine, leftovers, open_engine, serve
from tests.integration.blockio.servers import content, make_image, nbdkit, tool, write_image

KIB, MIB, GIB = 1024, 1024**2, 1024**3
SMALL_PIECES = CopyOptions(piece_size_bytes=BLOCK_SIZE, in_flight_max=3, planned_runs_max=1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path) as engine:
        yield engine


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(8 * MIB, id="whole blocks"),
        pytest.param(5 * MIB + 512, id="a sector more"),
        pytest.param(5 * MIB - 512, id="a sector less"),
        pytest.param(512, id="one sector"),
    ],
)
def test_a_full_backup_is_the_disk(
    tmp_path: Path, engine: Engine, image_format: str, size: int
) -> None:
    disk = tmp_path / "disk"
    make_image(disk, image_format, size, "write -P 1 0 512", f"write -P 2 {size - 512} 512")
    if size > 4 * MIB:
        write_image(disk, image_format, "write -P 3 1M 300k", "write -z 1100k 100k")

    with serve(disk, image_format) as server:
        result = engine.back_up(server.uri, size)

    assert engine.content(result.image) == content(disk, image_format)
    assert result.image.size_bytes == size
    assert result.read_bytes <= size


@pytest.mark.parametrize("options", [CopyOptions(), SMALL_PIECES], ids=["large", "small pieces"])
def test_only_data_is_read(tmp_path: Path, engine: Engine, options: CopyOptions) -> None:
    engine.copying = options
    disk = tmp_path / "disk"
    make_image(disk, "qcow2", 100 * GIB, "write -P 1 1G 1M", "write -P 1 60G 64k")

    with serve(disk, "qcow2") as server:
        result = engine.back_up(server.uri, 100 * GIB)

    assert result.read_bytes == MIB + 64 * KIB
    assert engine.reports[-1].done_bytes == engine.reports[-1].total_bytes == result.read_bytes
    first = GIB // BLOCK_SIZE
    assert list(engine.reader(result.image).runs()) == [
        Run(0, first, HOLE),
        Run(first, first + 16, STORED),
        Run(first + 16, 60 * first, HOLE),
        Run(60 * first, 60 * first + 1, STORED),
        Run(60 * first + 1, 100 * first, HOLE),
    ]


def test_zeroes_are_known_from_holes_and_read_ones_are_zero(tmp_path: Path, engine: Engine) -> None:
    extents = tmp_path / "extents"
    extents.write_text("0 64k hole,zero\n64k 64k zero\n128k 64k\n192k 64k hole\n")
    server_of = ("--filter=extentlist", "memory", "256k", f"extentlist={extents}")

    with nbdkit(tmp_path, *server_of) as server:
        result = engine.back_up(server.uri, 256 * KIB)

    assert result.read_bytes == 128 * KIB
    assert list(engine.reader(result.image).runs()) == [Run(0, 1, HOLE), Run(1, 4, ZERO)]


@pytest.mark.parametrize("cluster", ["4k", "64k", "2M"])
def test_increments_are_the_disk_at_their_instant(
    tmp_path: Path, engine: Engine, cluster: str
) -> None:
    """Three increments of random writes, zero writes and discards, and no earlier one changes."""
    size, disk, random_ = 24 * MIB + 512, tmp_path / "disk", random.Random(7)
    options = ("-o", f"cluster_size={cluster}")
    tool("qemu-img", "create", "-q", "-f", "qcow2", *options, str(disk), str(size))
    write_image(disk, "qcow2", "write -P 9 0 20M")
    with serve(disk, "qcow2") as server:
        image = engine.back_up(server.uri, size).image
    states = [(image, content(disk, "qcow2"))]

    for number in range(3):
        tool("qemu-img", "bitmap", "--add", "-f", "qcow2", str(disk), f"b{number}")
        write_image(disk, "qcow2", *random_commands(random_, size))
        with serve(disk, "qcow2", bitmap=f"b{number}") as server:
            result = engine.back_up(
                server.uri,
                size,
                parent=image,
                dirty_context=f"qemu:dirty-bitmap:b{number}",
            )
        image = result.image
        states.append((image, content(disk, "qcow2")))
        assert result.read_bytes < size

    for stored, expected in states:
        assert engine.content(stored) == expected


def random_commands(random_: random.Random, size: int) -> list[str]:
    commands = []
    for _ in range(30):
        length = random_.randrange(1, 300) * 512
        offset = random_.randrange((size - length) // 512) * 512
        verb = random_.choice(["write -P 5", "write -P 6", "write -z", "write -z -u", "discard"])
        commands.append(f"{verb} {offset} {length}")
    return [*commands, f"write -P 4 {size - 512} 512"]


@pytest.mark.parametrize("wipe", ["write -z", "write -z -u", "discard", "write -P 0"])
def test_what_is_dirty_and_reads_as_zero_is_a_change(
    tmp_path: Path, engine: Engine, wipe: str
) -> None:
    disk = tmp_path / "disk"
    make_image(disk, "qcow2", 4 * MIB, "write -P 9 0 4M")
    with serve(disk, "qcow2") as server:
        parent = engine.back_up(server.uri, 4 * MIB).image
    tool("qemu-img", "bitmap", "--add", "-f", "qcow2", str(disk), "b")
    write_image(disk, "qcow2", f"{wipe} 1M 1M")

    with serve(disk, "qcow2", bitmap="b") as server:
        image = engine.back_up(
            server.uri, 4 * MIB, parent=parent, dirty_context="qemu:dirty-bitmap:b"
        ).image

    assert engine.content(image) == b"\x09" * MIB + bytes(MIB) + b"\x09" * 2 * MIB
    assert engine.content(image) == content(disk, "qcow2")


def test_nothing_dirty_reads_nothing_and_keeps_the_parents_map(
    tmp_path: Path, engine: Engine
) -> None:
    disk = tmp_path / "disk"
    make_image(disk, "qcow2", 4 * MIB, "write -P 9 0 4M")
    tool("qemu-img", "bitmap", "--add", "-f", "qcow2", str(disk), "b")
    with serve(disk, "qcow2", bitmap="b") as server:
        parent = engine.back_up(server.uri, 4 * MIB).image
        result = engine.back_up(
            server.uri, 4 * MIB, parent=parent, dirty_context="qemu:dirty-bitmap:b"
        )

    assert result.read_bytes == 0
    assert result.image.root == parent.root
    assert engine.reports[-1].total_bytes == 0


def test_a_rescan_stores_only_what_differs(tmp_path: Path, engine: Engine) -> None:
    disk = tmp_path / "disk"
    make_image(disk, "raw", 8 * MIB, "write -P 9 0 4M")
    with serve(disk, "raw") as server:
        parent = engine.back_up(server.uri, 8 * MIB).image
    write_image(disk, "raw", "write -P 8 1M 64k", "discard 2M 1M")

    with serve(disk, "raw") as server:
        image = engine.back_up(server.uri, 8 * MIB, parent=parent).image

    assert image.changed_blocks == 1
    assert engine.content(image) == content(disk, "raw")


def test_another_size_than_expected_is_an_error(tmp_path: Path, engine: Engine) -> None:
    with (
        nbdkit(tmp_path, "memory", "1M") as server,
        pytest.raises(DiskUnreadable, match=f"{DISK}.*has 1048576 bytes.*should have 1048064"),
    ):
        engine.back_up(server.uri, MIB - 512)


def test_a_dirty_context_that_is_missing_is_an_error(tmp_path: Path, engine: Engine) -> None:
    """Never a full copy in silence, never an empty one."""
    disk = tmp_path / "disk"
    make_image(disk, "qcow2", MIB)

    with (
        serve(disk, "qcow2") as server,
        pytest.raises(DiskUnreadable, match="does not offer qemu:dirty-bitmap:b"),
    ):
        engine.back_up(server.uri, MIB, dirty_context="qemu:dirty-bitmap:b")


def test_a_server_without_extents_is_an_error(tmp_path: Path, engine: Engine) -> None:
    with (
        nbdkit(tmp_path, "--no-sr", "memory", "1M") as server,
        pytest.raises(DiskUnreadable, match="does not offer base:allocation"),
    ):
        engine.back_up(server.uri, MIB)


def test_a_bad_sector_in_the_middle_fails_the_backup(tmp_path: Path, engine: Engine) -> None:
    """Nothing is tried again, and nothing is taken for zero."""
    engine.copying = SMALL_PIECES
    holds_it = f"[ $4 -le {5 * MIB} ] && [ $(($4 + $3)) -gt {5 * MIB} ]"
    bad = f"if {holds_it}; then echo EIO bad >&2; exit 1; fi"
    with (
        nbdkit(
            tmp_path,
            "eval",
            f"get_size=echo {8 * MIB}",
            f"pread={bad}; dd if=/dev/zero count=$3 iflag=count_bytes",
        ) as server,
        pytest.raises(DiskUnreadable, match=f"reading 65536 bytes at offset {5 * MIB} failed"),
    ):
        engine.back_up(server.uri, 8 * MIB)

    assert list(engine.repository.manifests()) == []


def test_a_server_that_dies_in_the_middle_fails_the_backup(tmp_path: Path, engine: Engine) -> None:
    with nbdkit(tmp_path, "--filter=noextents", "memory", "2G") as server:
        engine.on_report = lambda _: server.kill()
        with pytest.raises(DiskUnreadable, match=f"{DISK}: reading"):
            engine.back_up(server.uri, 2 * GIB)


def test_a_server_that_hangs_fails_the_backup_after_the_limit(
    tmp_path: Path, engine: Engine
) -> None:
    engine.copying = replace(SMALL_PIECES, limits=NbdLimits(answer_timeout_s=0.5))
    with (
        nbdkit(
            tmp_path, "--filter=delay", "--filter=noextents", "memory", "2G", "delay-read=60"
        ) as server,
        pytest.raises(DiskUnreadable, match=r"did not answer within 0\.5 s"),
    ):
        engine.back_up(server.uri, 2 * GIB)


def test_a_cancel_ends_a_backup_whose_server_hangs(tmp_path: Path, engine: Engine) -> None:
    with nbdkit(
        tmp_path, "--filter=delay", "--filter=noextents", "memory", "2G", "delay-read=60"
    ) as server:
        threading.Timer(0.2, engine.cancel.set).start()
        begun = monotonic()
        with pytest.raises(OperationCancelled, match=DISK):
            engine.back_up(server.uri, 2 * GIB)

    assert monotonic() - begun < 1.2 + 0.5


@pytest.mark.parametrize("error", [OperationCancelled, KeyboardInterrupt, LookupError])
def test_what_ends_a_backup_that_runs_leaves_nothing_behind(
    tmp_path: Path, engine: Engine, error: type[BaseException]
) -> None:
    def stop(_: Progress) -> None:
        if error is not OperationCancelled:
            raise error
        engine.cancel.set()

    engine.on_report = stop
    before = leftovers()
    with nbdkit(tmp_path, "--filter=noextents", "memory", "8G") as server:
        with pytest.raises(error):
            engine.back_up(server.uri, 8 * GIB)
        assert set(leftovers()) <= set(before)

    assert engine.reports[-1].done_bytes < 8 * GIB


def test_a_full_store_fails_the_backup_and_leaves_nothing_behind(tmp_path: Path) -> None:
    before = leftovers()
    with open_engine(tmp_path, FullStore()) as engine, nbdkit(tmp_path, "pattern", "1G") as server:
        with pytest.raises(StoreFull):
            engine.back_up(server.uri, GIB)
        assert set(leftovers()) <= set(before)


class FullStore(MemoryStore):
    """Takes no packs."""

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        if key.startswith("packs/"):
            raise StoreFull("memory", 0, 1)
        super().put(key, parts, use_reserve=use_reserve)


def test_a_disk_with_sectors_of_4_kib(tmp_path: Path, engine: Engine) -> None:
    strict = ("blocksize-minimum=4k", "blocksize-error-policy=error")
    size = 3 * MIB + 4 * KIB
    with nbdkit(tmp_path, "--filter=blocksize-policy", "pattern", str(size), *strict) as server:
        image = engine.back_up(server.uri, size).image

    expected = b"".join(offset.to_bytes(8, "big") for offset in range(0, size, 8))
    assert engine.content(image) == expected


def test_a_16_tib_disk_without_data_is_quick(tmp_path: Path, engine: Engine) -> None:
    disk = tmp_path / "disk"
    make_image(disk, "qcow2", 16 * 1024 * GIB)

    with serve(disk, "qcow2") as server:
        result = engine.back_up(server.uri, 16 * 1024 * GIB)

    assert result.read_bytes == 0
    assert result.image.root is None

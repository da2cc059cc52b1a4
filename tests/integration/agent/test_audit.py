"""A sample of what tracking calls unchanged, compared with the parent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.agent.audit import WINDOW_BLOCKS, Audit, AuditOptions, audit_disk
from csbs.agent.backup_disk import DiskCopy
from csbs.domain.clock import new_id, utc_now
from csbs.repository import Image
from tests.integration.agent.engine import DISK, Engine, open_engine, serve
from tests.integration.blockio.servers import make_image, tool, write_image

MIB = 1024**2
SIZE = 64 * MIB + 512
BITMAP = "first"

pytestmark = pytest.mark.host


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path) as engine:
        yield engine


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """64 MiB, of which 32 MiB in the middle and the last sector have data; tracked from now on."""
    path = tmp_path / "disk"
    make_image(path, "qcow2", SIZE, "write -P 7 16M 32M", f"write -P 7 {SIZE - 512} 512")
    tool("qemu-img", "bitmap", "--add", "-f", "qcow2", str(path), BITMAP)
    return path


def parent_of(engine: Engine, disk: Path) -> Image:
    with serve(disk, "qcow2") as server:
        return engine.back_up(server.uri, SIZE).image


def write_unseen(disk: Path, *commands: str) -> None:
    """Writes that the bitmap does not hear of."""
    tool("qemu-img", "bitmap", "--disable", "-f", "qcow2", str(disk), BITMAP)
    write_image(disk, "qcow2", *commands)
    tool("qemu-img", "bitmap", "--enable", "-f", "qcow2", str(disk), BITMAP)


def audit(engine: Engine, disk: Path, parent: Image, turn: int) -> Audit:
    writer = engine.repository.begin(new_id(), started_at=utc_now(), index=engine.index)
    with serve(disk, "qcow2", bitmap=BITMAP) as server:
        return audit_disk(
            DiskCopy(
                disk=DISK,
                uri=server.uri,
                size_bytes=SIZE,
                dirty_context=f"qemu:dirty-bitmap:{BITMAP}",
            ),
            writer.image("disk", SIZE, parent=parent),
            AuditOptions(),
            turn=turn,
            cancelled=lambda: False,
        )


def test_clean_blocks_are_as_they_were(engine: Engine, disk: Path) -> None:
    parent = parent_of(engine, disk)
    write_image(disk, "qcow2", "write -P 9 20M 1M")

    found = [audit(engine, disk, parent, turn) for turn in range(9)]

    assert {each.wrong_block for each in found} == {None}
    assert all(each.compared_blocks >= WINDOW_BLOCKS for each in found[:4])


@pytest.mark.parametrize(
    "command", ["write -P 9 {offset} 64k", "write -P 0 {offset} 64k"], ids=["data", "zeroes"]
)
def test_a_write_that_was_missed_is_found_within_one_turn_around_the_disk(
    engine: Engine, disk: Path, command: str
) -> None:
    parent = parent_of(engine, disk)
    write_unseen(disk, command.format(offset=30 * MIB))

    turns = range(-(-SIZE // (WINDOW_BLOCKS * 65536)))
    found = [audit(engine, disk, parent, turn).wrong_block for turn in turns]

    assert {each for each in found if each is not None} == {30 * MIB // 65536}


def test_a_missed_write_in_the_last_partial_block_is_found(engine: Engine, disk: Path) -> None:
    parent = parent_of(engine, disk)
    write_unseen(disk, f"write -P 9 {SIZE - 512} 512")

    turns = range(-(-SIZE // (WINDOW_BLOCKS * 65536)))
    found = [audit(engine, disk, parent, turn).wrong_block for turn in turns]

    assert 64 * MIB // 65536 in found

"""Chains of backups whose disks change: other sizes, other images, written while stopped.

Each backup is held against the disks byte for byte, in the end once more (`csbs.testing.chain`).
"""

from __future__ import annotations

import shutil
from logging import WARNING
from pathlib import Path

import pytest

from csbs.config import Settings
from csbs.testing import by_hand
from csbs.testing.chain import told
from csbs.testing.libvirt_domains import DomainDisk, export_io, make_image
from tests.integration.libvirt.chains import (
    ALL_TRACKED,
    FIRST,
    KIB,
    MIB,
    NEW_SIZE,
    NO_BITMAP,
    RAW,
    REPLACED,
    TRACKED,
    go_on,
    moved,
    new_chain,
    next_backup,
    resized,
)
from tests.integration.libvirt.conftest import BeginChain

pytestmark = pytest.mark.host


def test_disks_are_added_and_removed(begin_chain: BeginChain) -> None:
    chain = begin_chain(21)
    server = chain.server

    chain.add(DomainDisk(target="vdd", size_bytes=MIB))
    assert next_backup(chain) == {**ALL_TRACKED, "vdd": FIRST}
    assert next_backup(chain) == {**ALL_TRACKED, "vdd": TRACKED}

    server.power_off()
    by_hand.remove_disk(server, "vdb")
    chain.add(DomainDisk(target="vde", size_bytes=MIB))
    assert next_backup(chain) == {"vda": TRACKED, "vdc": RAW, "vdd": TRACKED, "vde": FIRST}
    server.start()
    for _ in range(2):
        assert next_backup(chain) == {"vda": TRACKED, "vdc": RAW, "vdd": TRACKED, "vde": TRACKED}
    chain.check_all()


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_disks_are_grown_shrunk_and_grown_again(begin_chain: BeginChain, *, running: bool) -> None:
    chain = begin_chain(22)
    if not running:
        chain.server.power_off()

    chain.resize("vda", 5 * MIB)
    chain.resize("vdb", 3 * MIB)
    assert next_backup(chain) == {"vda": resized(4, 5), "vdb": resized(2, 3), "vdc": RAW}

    chain.resize("vda", 3 * MIB)
    chain.resize("vdb", MIB)
    chain.write("vdb", offset=MIB - 64 * KIB, size=64 * KIB)
    assert next_backup(chain) == {"vda": resized(5, 3), "vdb": resized(3, 1), "vdc": RAW}

    # Cut, and grown to the very size again: zeroes that no bitmap knows of.
    chain.resize("vda", MIB)
    chain.resize("vda", 3 * MIB)
    chain.resize("vdb", MIB - 36 * KIB)
    chain.resize("vdb", MIB)
    assert told(chain.back_up()) == ALL_TRACKED

    if not running:
        chain.server.start()
    go_on(chain)


def test_a_raw_disk_of_another_size_is_another_disk(begin_chain: BeginChain) -> None:
    chain = begin_chain(23)
    chain.resize("vdc", 2 * MIB)
    assert next_backup(chain) == {**ALL_TRACKED, "vdc": NEW_SIZE}
    go_on(chain)


def test_images_are_replaced(begin_chain: BeginChain) -> None:
    chain = begin_chain(24)
    server = chain.server
    server.power_off()
    image, older = server.path("vda"), server.folder / "older.qcow2"
    shutil.copy(image, older)
    content_then = chain.content["vda"]
    assert next_backup(chain) == ALL_TRACKED

    shutil.copy(older, image)  # the same file, with what it held before the last backup
    chain.scribbler.content["vda"] = content_then
    assert next_backup(chain) == {"vda": NO_BITMAP, "vdb": TRACKED, "vdc": RAW}

    shutil.copy(image, older)
    content_then = chain.content["vda"]
    chain.scribble()
    shutil.copy(older, image)  # what it held after the last backup, with that backup's bitmap
    chain.scribbler.content["vda"] = content_then
    assert next_backup(chain) == ALL_TRACKED

    shutil.copy(image, older)
    by_hand.take_over(server, older)
    older.replace(image)  # another file, with the same bitmaps
    assert next_backup(chain) == {"vda": REPLACED, "vdb": TRACKED, "vdc": RAW}

    other = server.folder / "other.qcow2"
    shutil.copy(image, other)
    by_hand.replace_image(server, "vda", other)
    assert next_backup(chain) == {"vda": moved(other), "vdb": TRACKED, "vdc": RAW}

    new = server.folder / "new.qcow2"
    make_image(new, server.disks["vda"])
    by_hand.replace_image(server, "vda", new)
    chain.scribbler.content["vda"] = bytes(4 * MIB)
    assert next_backup(chain) == {"vda": FIRST, "vdb": TRACKED, "vdc": RAW}
    server.start()
    go_on(chain)


def test_a_stopped_server_is_written_and_backed_up(begin_chain: BeginChain) -> None:
    chain = begin_chain(25)
    server = chain.server

    chain.scribble()
    server.power_off()
    for _ in range(2):
        for target in server.disks:
            with by_hand.served(server, target) as uri:
                export_io(uri, *chain.scribbler.scribble(target, 6))
        assert told(chain.back_up()) == ALL_TRACKED
    server.start()
    go_on(chain)

    chain.restore(chain.kept[2])
    assert next_backup(chain) == ALL_TRACKED
    server.start()
    go_on(chain)


def test_the_guest_discards_all_that_it_had(begin_chain: BeginChain) -> None:
    chain = begin_chain(26)
    for target, size in (("vda", 4 * MIB), ("vdb", 2 * MIB), ("vdc", MIB)):
        chain.server.discard(target, offset=0, size=size)
        chain.scribbler.content[target] = bytes(size)
    assert told(chain.back_up()) == ALL_TRACKED
    assert [disk.nonzero_bytes for disk in chain.kept[-1].backup.disks] == [0, 0, 0]
    go_on(chain)


def test_a_write_into_a_hole_during_a_backup_raises_no_alarm(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with new_chain(settings, seed=28, tmp=tmp_path) as chain:
        chain.server.start()
        chain.back_up()
        # vda is copied first: of vdb is asked afterwards what is allocated.
        backup = chain.back_up(during=lambda: chain.write("vdb", offset=MIB, size=MIB))
        assert told(backup) == ALL_TRACKED
        assert next_backup(chain) == ALL_TRACKED
    assert [record.message for record in caplog.records if record.levelno >= WARNING] == []


def test_a_snapshot_is_taken_and_committed(begin_chain: BeginChain) -> None:
    chain = begin_chain(27)
    server = chain.server
    image = server.path("vda")

    chain.scribble()
    by_hand.snapshot(server, "vda")
    chain.scribble()
    by_hand.commit_snapshot(server, "vda")
    assert next_backup(chain) == ALL_TRACKED

    chain.scribble()
    by_hand.snapshot(server, "vda")
    overlay = server.path("vda")
    assert next_backup(chain) == {"vda": moved(overlay), "vdb": TRACKED, "vdc": RAW}
    assert next_backup(chain) == ALL_TRACKED
    chain.scribble()
    by_hand.commit_snapshot(server, "vda")
    assert next_backup(chain) == {"vda": moved(image), "vdb": TRACKED, "vdc": RAW}
    go_on(chain)


def test_a_snapshot_of_all_disks_keeps_them_apart(settings: Settings, tmp_path: Path) -> None:
    """They are of one size, have new paths, and bitmaps of one name."""
    disks = tuple(DomainDisk(target=target, size_bytes=MIB) for target in ("vda", "vdb"))
    with new_chain(settings, seed=28, tmp=tmp_path, disks=disks) as chain:
        server = chain.server
        server.start()
        assert next_backup(chain) == {"vda": FIRST, "vdb": FIRST}

        by_hand.snapshot(server, "vda", "vdb")
        overlays = {target: server.path(target) for target in ("vda", "vdb")}
        assert next_backup(chain) == {target: moved(path) for target, path in overlays.items()}
        for target in ("vda", "vdb"):
            by_hand.commit_snapshot(server, target)
        images = {target: server.path(target) for target in ("vda", "vdb")}
        assert next_backup(chain) == {target: moved(path) for target, path in images.items()}
        assert next_backup(chain) == {"vda": TRACKED, "vdb": TRACKED}
        assert len({disk.disk_id for kept in chain.kept for disk in kept.backup.disks}) == 2
        chain.check_all()

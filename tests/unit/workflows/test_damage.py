"""Damage in the store: named, restored around, and healed by the next backup."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from csbs.domain.backup import Backup, Mode
from csbs.domain.errors import BackupDamaged
from csbs.domain.server import ServerState
from csbs.repository import EVERYTHING, Share
from csbs.repository.node import Address
from csbs.repository.pack import TRAILER_SIZE, pack_key
from csbs.repository.pack_reader import load_footer
from csbs.services.requests import CreateBackup
from csbs.services.verification import VerifyRequest
from csbs.testing.faults import RecordingStore
from tests.unit.workflows.service_lab import ServiceLab

BLOCK = 65536


def address_of(lab: ServiceLab, backup: Backup, target: str, block: int) -> Address:
    repository = lab.open_repository()
    [disk_id] = [disk.disk_id for disk in backup.disks if disk.target == target]
    image = repository.manifest(backup.manifest_key).image(disk_id)
    assert image is not None
    fetch = next(repository.reader(image).fetches([(block, block + 1)]))
    return Address(fetch.pack_id, fetch.blocks[0][1])


def node_of(lab: ServiceLab, backup: Backup, target: str) -> Address:
    """The root of the disk's map."""
    [disk_id] = [disk.disk_id for disk in backup.disks if disk.target == target]
    image = lab.open_repository().manifest(backup.manifest_key).image(disk_id)
    assert image is not None
    assert image.root is not None
    return image.root


def flip(lab: ServiceLab, address: Address) -> None:
    """Damages one frame."""
    store = lab.repositories.open_store(lambda: False)
    key = pack_key(address.pack_id)
    footer = load_footer(store, address.pack_id)
    position = footer.position(address.slot)
    assert position is not None
    data = bytearray(store.get(key))
    data[int(footer.offsets[position]) + 4] ^= 1
    store.replace(key, bytes(data))


def spoil_footer(lab: ServiceLab, address: Address) -> None:
    """All frames of the pack are lost."""
    store = lab.repositories.open_store(lambda: False)
    data = bytearray(store.get(pack_key(address.pack_id)))
    data[-TRAILER_SIZE - 1] ^= 1
    store.replace(pack_key(address.pack_id), bytes(data))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def backup(lab: ServiceLab) -> Backup:
    """A running server with data in blocks 0 to 15 of both disks, each block another one."""
    for block in range(16):
        for target in ("vda", "vdb"):
            pattern = block + (16 if target == "vda" else 48)
            lab.server.write(target, offset=block * BLOCK, size=BLOCK, pattern=pattern)
    lab.server.start()
    return lab.back_up()


def holes(content: bytes, *blocks: int) -> bytes:
    data = bytearray(content)
    for block in blocks:
        data[block * BLOCK : (block + 1) * BLOCK] = bytes(BLOCK)
    return bytes(data)


# --- verification ------------------------------------------------------------------------------


def test_damage_is_named_by_backup_server_disk_and_range(lab: ServiceLab, backup: Backup) -> None:
    flip(lab, address_of(lab, backup, "vdb", 3))
    assert not lab.verify(None).damaged
    done = lab.verify()
    [named] = done.backups
    [disk] = named.disks

    assert (named.id, named.name, named.server_name) == (backup.id, backup.name, "web")
    assert (disk.target, disk.lost_bytes) == ("vdb", BLOCK)
    assert disk.ranges == ((3 * BLOCK, BLOCK),)


def test_a_backup_whose_manifest_is_gone_or_damaged_is_lost(
    lab: ServiceLab, backup: Backup
) -> None:
    store = lab.repositories.open_store(lambda: False)
    data = store.get(backup.manifest_key)
    store.replace(backup.manifest_key, data[:-1])
    damaged = lab.verify(None)
    store.delete(backup.manifest_key)
    gone = lab.verify(None)

    for done in (damaged, gone):
        assert [each.key for each in done.report.objects] == [backup.manifest_key]
        assert [(each.id, each.disks) for each in done.backups] == [(backup.id, ())]
        assert done.damaged


def test_whole_packs_are_checked_without_the_config(lab: ServiceLab, backup: Backup) -> None:
    address = address_of(lab, backup, "vda", 3)
    store = lab.repositories.open_store(lambda: False)
    store.delete("config")
    request = VerifyRequest(share=None, with_keys=False)
    whole = lab.verification.verify(request, lab.watcher)
    flip(lab, address)
    done = lab.verification.verify(request, lab.watcher)

    assert not whole.damaged
    assert whole.report.packs_read == whole.report.packs > 0
    assert [each.key for each in done.report.objects] == [pack_key(address.pack_id)]
    assert list(store.list("damage/")) == []


def test_a_verification_runs_beside_backups(lab: ServiceLab, backup: Backup) -> None:
    del backup
    with lab.repositories.shared("a backup"):
        assert not lab.verify().damaged


# --- the next backup ----------------------------------------------------------------------------


def test_the_next_increment_stores_anew_what_was_lost(lab: ServiceLab, backup: Backup) -> None:
    flip(lab, address_of(lab, backup, "vda", 3))
    trusting = lab.back_up()  # nobody knows of the damage
    lab.verify()
    healed = lab.back_up()
    later = lab.back_up()
    vda, vdb = healed.disks

    assert trusting.read_bytes == 0
    assert (vda.mode, vda.read_bytes, vda.changed_bytes) == (Mode.INCREMENTAL, BLOCK, BLOCK)
    assert vda.reason == (
        "changes are tracked; 1 blocks that are damaged in the store are read again"
    )
    assert (vdb.read_bytes, vdb.reason) == (0, "changes are tracked")
    assert lab.saved(healed) == lab.saved(later) == lab.content()
    assert later.read_bytes == 0
    assert {each.id for each in lab.verify().backups} == {backup.id, trusting.id}


@pytest.mark.parametrize("share", [None, EVERYTHING], ids=["structure", "all"])
def test_a_lost_pack_is_stored_anew(lab: ServiceLab, backup: Backup, share: Share | None) -> None:
    spoil_footer(lab, address_of(lab, backup, "vda", 3))
    lab.verify(share)
    healed = lab.back_up()

    assert [disk.mode for disk in healed.disks] == [Mode.INCREMENTAL] * 2
    assert lab.saved(healed) == lab.content()


@pytest.mark.parametrize("share", [None, EVERYTHING], ids=["structure", "all"])
def test_a_lost_map_node_is_written_anew(
    lab: ServiceLab, backup: Backup, share: Share | None
) -> None:
    flip(lab, node_of(lab, backup, "vda"))
    lab.verify(share)
    healed = lab.back_up()

    assert healed.disks[0].mode is Mode.FULL  # there is nothing to go on from
    assert healed.disks[1].mode is Mode.INCREMENTAL
    assert lab.saved(healed) == lab.content()


def test_each_server_that_shares_a_block_heals_it(lab: ServiceLab) -> None:
    lab.add_many(1)
    lab.server.write("vda", offset=0, size=2 * BLOCK, pattern=1)
    lab.server.start()
    first = lab.back_up()
    other = lab.backups.create(CreateBackup(server="many"), lab.watcher)
    address = address_of(lab, first, "vda", 0)
    assert address_of(lab, other, "vda", 0) == address
    flip(lab, address)
    assert {each.id for each in lab.verify().backups} == {first.id, other.id}
    for name in ("web", "many"):
        healed = lab.backups.create(CreateBackup(server=name), lab.watcher)
        lab.saved(healed)  # raises if anything is damaged

    assert {each.id for each in lab.verify().backups} == {first.id, other.id}


def test_a_failed_backup_heals_nothing_and_the_next_one_does(
    lab: ServiceLab, backup: Backup
) -> None:
    flip(lab, address_of(lab, backup, "vda", 3))
    lab.verify()
    lab.cancel.set()
    with pytest.raises(Exception, match="cancelled"):
        lab.back_up()
    lab.cancel.clear()

    assert lab.saved(lab.back_up()) == lab.content()


def test_the_map_of_a_healed_parent_is_not_walked_again(lab: ServiceLab, backup: Backup) -> None:
    del backup
    recorded = RecordingStore(lab.repositories.open_store(lambda: False))
    opening = lab.open_repository
    lab.open_repository = partial(opening.func, recorded, *opening.args[1:])

    def reads() -> int:
        recorded.calls.clear()
        lab.back_up()
        # Each once: two threads that miss a footer in the same moment both ask for it.
        gets = {call for call in recorded.calls if call[0] == "get"}
        return sum(call[1].startswith("packs/") for call in gets)

    lab.server.write("vda", offset=3 * BLOCK, size=BLOCK, pattern=9)
    changed = lab.back_up()  # in a pack of its own, as what is stored anew will be
    usual = reads()
    flip(lab, address_of(lab, changed, "vda", 3))
    lab.verify()
    first = reads()
    second = reads()

    assert first > usual
    assert second <= usual


# --- restores -----------------------------------------------------------------------------------


def test_a_restore_refuses_what_is_known_by_structure_before_it_stops_the_server(
    lab: ServiceLab, backup: Backup
) -> None:
    spoil_footer(lab, address_of(lab, backup, "vdb", 2))
    before = lab.content()
    with pytest.raises(BackupDamaged) as raised:
        lab.restore(backup, compare=True)

    assert lab.driver.describe(lab.server.id).state is ServerState.RUNNING
    assert lab.content() == before
    assert (raised.value.backup, raised.value.server) == (backup.name, "web")


def test_a_restore_refuses_what_a_verification_found(lab: ServiceLab, backup: Backup) -> None:
    flip(lab, address_of(lab, backup, "vdb", 2))
    lab.server.write("vdb", offset=2 * BLOCK, size=BLOCK, pattern=9)
    lab.back_up()
    lab.verify()
    before = lab.content()
    with pytest.raises(BackupDamaged) as raised:
        lab.restore(backup)

    assert lab.driver.describe(lab.server.id).state is ServerState.RUNNING
    assert lab.content() == before
    assert (raised.value.disk, raised.value.offset_bytes) == ("vdb", 2 * BLOCK)


@pytest.mark.parametrize("compare", [False, True], ids=["difference", "compare"])
def test_what_only_changed_since_is_refused_when_the_server_is_stopped(
    lab: ServiceLab, backup: Backup, *, compare: bool
) -> None:
    """Only then is known what tracking recorded; the server runs again."""
    flip(lab, address_of(lab, backup, "vdb", 2))
    lab.verify()
    lab.server.write("vdb", offset=2 * BLOCK, size=BLOCK, pattern=9)
    before = lab.content()
    with pytest.raises(BackupDamaged) as raised:
        lab.restore(backup, compare=compare)

    assert (raised.value.disk, raised.value.offset_bytes) == ("vdb", 2 * BLOCK)
    assert lab.driver.describe(lab.server.id).state is ServerState.RUNNING
    assert lab.content() == before
    assert not lab.restore(lab.back_up()).holes  # nothing is owed


def test_a_disk_that_must_be_compared_after_all_is_refused_too(
    lab: ServiceLab, backup: Backup
) -> None:
    flip(lab, address_of(lab, backup, "vdb", 2))
    lab.verify()
    lab.server.write_unseen("vdb", offset=2 * BLOCK, size=14 * BLOCK, pattern=9)
    before = lab.content()
    with pytest.raises(BackupDamaged):
        lab.restore(backup)

    assert lab.content() == before
    assert lab.driver.describe(lab.server.id).state is ServerState.RUNNING


def test_damage_that_is_met_while_writing_names_backup_disk_and_offset(
    lab: ServiceLab, backup: Backup
) -> None:
    flip(lab, address_of(lab, backup, "vdb", 2))
    lab.server.write("vdb", offset=2 * BLOCK, size=BLOCK, pattern=9)
    with pytest.raises(BackupDamaged) as raised:
        lab.restore(backup)

    assert (raised.value.disk, raised.value.offset_bytes) == ("vdb", 2 * BLOCK)
    done = lab.restore(backup, allow_holes=True)
    assert done.resumed
    assert done.holes == {"vdb": [(2 * BLOCK, BLOCK)]}


@pytest.mark.parametrize("compare", [False, True], ids=["difference", "compare"])
def test_holes_are_zero_and_listed_and_the_rest_is_restored(
    lab: ServiceLab, backup: Backup, *, compare: bool
) -> None:
    wanted = lab.content()
    for block in (2, 3, 7):
        flip(lab, address_of(lab, backup, "vda", block))
    lab.server.write("vda", offset=0, size=6 * BLOCK, pattern=9)
    done = lab.restore(backup, compare=compare, allow_holes=True)

    # Block 7 is on the disk still: it is no hole.
    assert done.holes == {"vda": [(2 * BLOCK, 2 * BLOCK)]}
    assert lab.content() == {"vda": holes(wanted["vda"], 2, 3), "vdb": wanted["vdb"]}


def test_below_a_lost_map_all_is_a_hole(lab: ServiceLab, backup: Backup) -> None:
    wanted = lab.content()
    flip(lab, node_of(lab, backup, "vdb"))
    done = lab.restore(backup, allow_holes=True)

    assert done.holes == {"vdb": [(0, len(wanted["vdb"]))]}
    assert lab.content() == {"vda": wanted["vda"], "vdb": bytes(len(wanted["vdb"]))}
    assert lab.saved(lab.back_up()) == lab.content()


def test_a_whole_backup_is_restored_as_ever_with_holes_allowed(
    lab: ServiceLab, backup: Backup
) -> None:
    wanted = lab.content()
    lab.write(3)
    done = lab.restore(backup, allow_holes=True)

    assert done.holes == {}
    assert lab.content() == wanted


@pytest.mark.parametrize("rewritten", [False, True], ids=["left zero", "written as it was"])
def test_the_backup_after_a_restore_with_holes_is_right(
    lab: ServiceLab, backup: Backup, *, rewritten: bool
) -> None:
    flip(lab, address_of(lab, backup, "vda", 2))
    lab.server.write("vda", offset=0, size=6 * BLOCK, pattern=9)
    lab.restore(backup, allow_holes=True, power_on=True)
    if rewritten:  # the digest is that of the damaged block: it must not be taken for stored
        lab.server.write("vda", offset=2 * BLOCK, size=BLOCK, pattern=18)
    after = lab.back_up()

    assert lab.content()["vda"][2 * BLOCK] == (18 if rewritten else 0)
    assert after.disks[0].mode is Mode.INCREMENTAL
    assert lab.saved(after) == lab.content()


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "rescan"])
def test_what_was_no_hole_since_the_disk_had_it_is_stored_anew(
    lab: ServiceLab, backup: Backup, *, tracked: bool
) -> None:
    for block in (2, 7):
        flip(lab, address_of(lab, backup, "vda", block))
    lab.verify()
    lab.server.write("vda", offset=0, size=6 * BLOCK, pattern=9)
    done = lab.restore(backup, compare=True, allow_holes=True)
    if not tracked:
        lab.servers.untrack("web")
    after = lab.back_up()

    assert done.holes == {"vda": [(2 * BLOCK, BLOCK)]}
    assert after.disks[0].mode is (Mode.INCREMENTAL if tracked else Mode.RESCAN)
    assert lab.saved(after) == lab.content()
    assert lab.content()["vda"][7 * BLOCK] == 7 + 16


def test_damage_of_what_is_on_the_disk_already_is_no_hindrance(
    lab: ServiceLab, backup: Backup
) -> None:
    wanted = lab.content()
    flip(lab, address_of(lab, backup, "vda", 7))
    lab.verify()
    lab.server.write("vda", offset=0, size=2 * BLOCK, pattern=9)
    lab.restore(backup)

    assert lab.content() == wanted


@pytest.mark.parametrize("allow_holes", [False, True], ids=["refusing", "allowing holes"])
def test_what_cannot_be_compared_is_left_out_of_the_sample(
    lab: ServiceLab, backup: Backup, *, allow_holes: bool
) -> None:
    """Else all of the disk would be compared with what is lost, and zeroed."""
    wanted = lab.content()
    spoil_footer(lab, address_of(lab, backup, "vda", 7))
    done = lab.restore(backup, allow_holes=allow_holes)

    assert done.holes == {}
    assert lab.content() == wanted

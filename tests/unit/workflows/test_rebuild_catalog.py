"""A catalog is rebuilt from its repository, and what its host did goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csbs.catalog import servers
from csbs.catalog.catalog import ProjectInUse
from csbs.compute.base import DiskExport
from csbs.documents.backups import BackupDocument
from csbs.domain.backup import Backup, BackupState, Mode
from csbs.domain.clock import new_id, utc_now
from csbs.domain.ids import BackupId, ServerId
from csbs.repository import Manifest, Repository
from csbs.repository.errors import CorruptObject, OtherConfig, RepositoryOwned
from csbs.repository.manifest import encode_manifest
from csbs.repository.objectstore import FolderStore, MemoryStore
from csbs.services.requests import CreateBackup
from csbs.workflows.rebuild_catalog import RebuildReport
from tests.unit.workflows.service_lab import MIB, Crash, ServiceLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path / "a")
    made.server.start()
    yield made
    made.close()


@pytest.fixture
def another(lab: ServiceLab, tmp_path: Path) -> Iterator[Callable[..., ServiceLab]]:
    """Makes an empty data folder beside; `same`: the catalog alone was lost."""
    with ExitStack() as opened:

        def make(name: str = "b", *, same: bool = False) -> ServiceLab:
            former = lab.home if same else None
            made = ServiceLab(tmp_path / name, beside=lab, former=former)
            opened.callback(made.catalog.close)
            return made

        (tmp_path / "b").mkdir()
        (tmp_path / "c").mkdir()
        yield make


def documents(lab: ServiceLab) -> list[dict[str, Any]]:
    return [BackupDocument.of(each, operator=True).json_value() for each in lab.backups.list_all()]


def chain(lab: ServiceLab, count: int) -> list[Backup]:
    made = []
    for pattern in range(1, count + 1):
        lab.write(pattern)
        made.append(lab.back_up())
    return made


def modes(backup: Backup) -> set[Mode]:
    return {disk.mode for disk in backup.disks}


def rewrite(lab: ServiceLab, key: str, change: Callable[[Manifest], Manifest]) -> None:
    """Puts another manifest under the key, with a right check."""
    repository = lab.open_repository()
    manifest = change(repository.manifest(key))
    data = encode_manifest(manifest, repository._opened.keys.manifests)
    (lab.store_folder / manifest.key).write_bytes(data)


def damage(lab: ServiceLab, backup: Backup) -> None:
    path = lab.store_folder / backup.manifest_key
    path.write_bytes(path.read_bytes()[:-3])


def test_backups_are_listed_as_before(lab: ServiceLab, another: Callable[..., ServiceLab]) -> None:
    made = chain(lab, 6)
    lab.back_up(full=True)
    lab.delete(made[0])
    lab.repositories.collect(lambda _: None)  # ends its tombstone, and leaves a void
    lab.delete(made[3])
    lab.delete(made[4])
    lab.write(9)
    lab.back_up()
    expected = documents(lab)
    rebuilt = another(same=True)
    report = rebuilt.rebuilding.rebuild(take_over=False)

    assert documents(rebuilt) == expected
    assert [each["status"] for each in expected] == ["available"] * 5
    # Not what changed: the backup that it was compared with was deleted.
    assert expected[0]["storage_bytes"] > expected[0]["changed_bytes"]
    assert report == RebuildReport(
        owned=True, backup_count=5, server_count=1, damaged=(), uncounted=(), forgotten=()
    )


def test_a_lost_catalog_goes_on_incrementally(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    chain(lab, 3)
    rebuilt = another(same=True)
    rebuilt.rebuilding.rebuild(take_over=False)
    lab.write(7)
    after = rebuilt.back_up()

    assert modes(after) == {Mode.INCREMENTAL}
    assert rebuilt.saved(after) == lab.content()
    assert len(lab.tracking()) == 1  # older ones are retired


def test_where_a_token_had_moved_the_disks_are_read_anew(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 3)
    lab.delete(made[2])
    rebuilt = another(same=True)
    rebuilt.rebuilding.rebuild(take_over=False)
    lab.write(7)
    after = rebuilt.back_up()

    assert {(disk.mode, disk.reason) for disk in after.disks} == {
        (Mode.RESCAN, "its tracking is gone")
    }
    assert rebuilt.saved(after) == lab.content()


def test_where_tracking_was_given_up_the_disks_are_read_anew(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    chain(lab, 2)
    lab.servers.untrack("web")
    lab.write(7)
    rebuilt = another(same=True)
    rebuilt.rebuilding.rebuild(take_over=False)
    after = rebuilt.back_up()

    assert modes(after) == {Mode.RESCAN}
    assert rebuilt.saved(after) == lab.content()


def test_another_data_folder_may_only_read(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 2)
    content = lab.content()
    tracking = lab.tracking()
    other = another()
    report = other.rebuilding.rebuild(take_over=False)
    before = sorted(lab.store_folder.rglob("*"))

    assert not report.owned
    assert documents(other) == documents(lab)
    with pytest.raises(RepositoryOwned, match="--take-over"):
        other.back_up()
    with pytest.raises(RepositoryOwned):
        other.delete(made[0])
    with pytest.raises(RepositoryOwned):
        other.repositories.collect(lambda _: None)
    assert documents(other) == documents(lab)
    assert sorted(lab.store_folder.rglob("*")) == before
    lab.write(8)
    assert other.restore(made[1]).results.keys() == {"vda", "vdb"}
    assert lab.content() == content
    assert lab.tracking() == tracking
    assert modes(lab.back_up()) == {Mode.INCREMENTAL}  # nothing was hurt


def test_who_takes_over_goes_on_and_the_former_owner_stops(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 2)
    listed = documents(lab)
    other = another()
    report = other.rebuilding.rebuild(take_over=True)
    lab.write(7)
    after = other.back_up()

    assert report.owned
    assert modes(after) == {Mode.INCREMENTAL}
    assert other.saved(after) == lab.content()
    with pytest.raises(RepositoryOwned, match=other.home.catalog_id):
        lab.back_up()
    with pytest.raises(RepositoryOwned):
        lab.delete(made[0])
    assert documents(lab) == listed
    assert modes(other.back_up()) == {Mode.INCREMENTAL}
    lab.restore(made[1])  # reading is free
    assert other.saved(made[1]) == lab.content()


def test_its_index_knows_what_is_there(lab: ServiceLab, another: Callable[..., ServiceLab]) -> None:
    [first] = chain(lab, 1)
    lab.delete(first)
    assert first.stored_bytes
    [kept] = chain(lab, 1)
    other = another()
    other.rebuilding.rebuild(take_over=True)
    other.servers.untrack("web")
    with other.catalog.transaction() as transaction:
        known = servers.known_disks(transaction, other.project_id, kept.server_id)
    again = other.back_up(full=True)

    assert {disk.id for disk in known} == {disk.disk_id for disk in again.disks}
    assert again.changed_bytes == 0
    assert again.stored_bytes == 0


def test_a_backup_that_is_taken_over_fails_and_lets_the_server_go(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 1)
    tracking = lab.tracking()
    other = another()

    def take_over(exports: Sequence[DiskExport], check: Callable[[], None]) -> None:
        del exports, check
        other.rebuilding.rebuild(take_over=True)

    lab.write(5)
    with pytest.raises(RepositoryOwned):
        lab.backups.create(CreateBackup(server="web", look_on=take_over), lab.watcher)
    assert [each.state for each in lab.listed()] == [BackupState.AVAILABLE, BackupState.ERROR]
    assert lab.tracking() == tracking
    assert [each.id for each in other.listed()] == [made[0].id]
    assert other.open_repository().uncounted() == []
    after = other.back_up()
    assert modes(after) == {Mode.INCREMENTAL}
    assert other.saved(after) == lab.content()


def test_who_takes_it_back_forgets_what_was_deleted_meanwhile(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 3)
    other = another()
    other.rebuilding.rebuild(take_over=True)
    other.delete(made[2])
    other.delete(made[0])
    lab.write(7)
    newest = other.back_up()
    report = lab.rebuilding.rebuild(take_over=True)
    lab.write(8)
    after = lab.back_up()

    assert set(report.forgotten) == {made[0].id, made[2].id}
    assert [each.id for each in lab.listed()] == [made[1].id, newest.id, after.id]
    assert lab.saved(after) == lab.content()
    assert documents(lab)[:2] == documents(other)


def test_it_may_be_repeated(lab: ServiceLab, another: Callable[..., ServiceLab]) -> None:
    chain(lab, 3)
    expected = documents(lab)
    report = lab.rebuilding.rebuild(take_over=True)

    assert lab.rebuilding.rebuild(take_over=True) == report
    assert documents(lab) == expected
    assert sorted(path.name for path in lab.store_folder.glob("owners/*")) == ["00000001"]
    lab.write(5)
    assert modes(lab.back_up()) == {Mode.INCREMENTAL}


def test_damaged_manifests_are_named_and_the_rest_is_there(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 4)
    damage(lab, made[1])
    rewrite(lab, made[2].manifest_key, lambda each: replace(each, facts={"name": "x"}))
    rebuilt = another()
    report = rebuilt.rebuilding.rebuild(take_over=True)
    lab.write(7)
    after = rebuilt.back_up()

    why = {each.key: each.why for each in report.damaged}
    assert why.keys() == {made[1].manifest_key, made[2].manifest_key}
    assert "is damaged" in why[made[1].manifest_key]
    assert "lacks what csbs must know" in why[made[2].manifest_key]
    assert [each.id for each in rebuilt.listed()] == [made[0].id, made[3].id, after.id]
    assert modes(after) == {Mode.INCREMENTAL}
    assert rebuilt.saved(after) == lab.content()


def test_damaged_backups_are_deleted_when_told_to(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 3)
    damage(lab, made[1])
    reader = another("c")
    with pytest.raises(RepositoryOwned):
        reader.rebuilding.rebuild(take_over=False, delete_damaged=True)
    rebuilt = another()
    with pytest.raises(CorruptObject):  # its blocks are kept
        lab.repositories.collect(lambda _: None)
    report = rebuilt.rebuilding.rebuild(take_over=True, delete_damaged=True)
    collected = rebuilt.repositories.collect(lambda _: None)

    assert [each.backup_id for each in report.damaged] == [made[1].id]
    assert collected.backups_purged == 1
    assert rebuilt.rebuilding.rebuild(take_over=False).damaged == ()
    assert [each.id for each in rebuilt.listed()] == [made[0].id, made[2].id]


def test_with_another_config_nothing_is_deleted(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 2)
    foreign = MemoryStore()
    Repository.open(foreign, name="x", catalog_id=new_id(), clock=utc_now, new_id=new_id)
    store = FolderStore(lab.store_folder)
    right = {key: store.get(key) for key in ("config", "twins/config")}
    for key in right:
        store.replace(key, foreign.get(key))
    rebuilt = another()
    with pytest.raises(OtherConfig, match="another one than its backups"):
        rebuilt.rebuilding.rebuild(take_over=True, delete_damaged=True)
    for key, data in right.items():
        store.replace(key, data)

    assert another("c").rebuilding.rebuild(take_over=True).backup_count == len(made)


def test_after_a_damaged_newest_one_nothing_is_missed(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 3)
    damage(lab, made[2])
    rebuilt = another()
    rebuilt.rebuilding.rebuild(take_over=True)
    lab.write(7)
    after = rebuilt.back_up()

    assert modes(after) == {Mode.RESCAN}
    assert rebuilt.saved(after) == lab.content()


def test_a_late_commit_is_named_and_not_listed(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    [made] = chain(lab, 1)
    other = another()
    other.rebuilding.rebuild(take_over=True)
    late_id = BackupId("99999999-8888-4777-8666-555555555555")
    late_key = made.manifest_key.replace(made.id, late_id)
    rewrite(lab, made.manifest_key, lambda each: replace(each, key=late_key, backup_id=late_id))
    report = other.rebuilding.rebuild(take_over=False)

    assert report.uncounted == (late_key,)
    assert [each.id for each in other.listed()] == [made.id]


def test_two_servers_of_one_name_keep_their_backups(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    chain(lab, 1)
    twin = lab.driver.add_server("twin", {"vda": MIB})
    twin.name = "web"
    twin.start()
    own = lab.backups.create(CreateBackup(server=twin.id), lab.watcher)
    expected = documents(lab)
    rebuilt = another(same=True)
    report = rebuilt.rebuilding.rebuild(take_over=False)
    twin.write("vda", offset=0, size=100, pattern=3)
    after = rebuilt.backups.create(CreateBackup(server=twin.id), rebuilt.watcher)

    assert report.server_count == 2
    assert documents(rebuilt)[:2] == expected
    assert {disk.disk_id for disk in after.disks} == {disk.disk_id for disk in own.disks}
    assert modes(after) == {Mode.INCREMENTAL}


@pytest.mark.parametrize("crash_at", range(1, 20))
def test_a_backup_that_a_crash_left_is_there_if_it_was_committed(
    lab: ServiceLab, another: Callable[..., ServiceLab], crash_at: int
) -> None:
    chain(lab, 1)
    lab.write(5)
    lab.clock.crash_at = crash_at
    try:
        lab.back_up()
    except Crash:
        pass
    finally:
        lab.clock.crash_at = 0
    committed = {each.key for each in lab.open_repository().manifests()}
    rebuilt = another(same=True)
    rebuilt.rebuilding.rebuild(take_over=False)
    lab.write(6)
    after = rebuilt.back_up()

    assert {each.manifest_key for each in rebuilt.listed()[:-1]} == committed
    assert rebuilt.saved(after) == lab.content()


def test_a_disk_is_found_again_by_its_serial_number(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    [made] = chain(lab, 1)

    def with_serial(manifest: Manifest) -> Manifest:
        disks = [{**disk, "serial": "S1", "backing": "/b"} for disk in manifest.facts["disks"]]
        return replace(manifest, facts={**manifest.facts, "disks": disks})

    rewrite(lab, made.manifest_key, with_serial)
    rebuilt = another()
    rebuilt.rebuilding.rebuild(take_over=False)
    with rebuilt.catalog.transaction() as transaction:
        disks = servers.known_disks(transaction, rebuilt.project_id, ServerId(made.server_id))

    assert {(disk.serial, disk.backing) for disk in disks} == {("S1", "/b")}


def test_a_manifest_of_before_has_no_parents_and_is_measured(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    made = chain(lab, 3)
    expected = documents(lab)

    def without(manifest: Manifest) -> Manifest:
        disks = [
            {name: value for name, value in disk.items() if name != "parent"}
            for disk in manifest.facts["disks"]
        ]
        return replace(manifest, facts={**manifest.facts, "disks": disks})

    for each in made:
        rewrite(lab, each.manifest_key, without)
    rebuilt = another()
    rebuilt.rebuilding.rebuild(take_over=False)

    assert documents(rebuilt) == expected


def test_a_catalog_with_servers_takes_no_other_project(
    lab: ServiceLab, another: Callable[..., ServiceLab]
) -> None:
    chain(lab, 1)

    with pytest.raises(ProjectInUse, match="another data folder"):
        lab.catalog.adopt_project(type(lab.project_id)("0" * 32))

"""Deletions: tracking goes on from the backup before, and a crash at any step loses no write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.catalog import servers, token_moves
from csbs.domain.backup import Backup, BackupState, Mode
from csbs.domain.block_set import RUNS_MAX, BlockSet
from csbs.domain.errors import HypervisorUnavailable
from csbs.domain.task import TaskState
from tests.unit.workflows.service_lab import Crash, ServiceLab

#: A deletion asks for the time less often than this.
CLOCK_CALLS_MAX = 20


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path)
    made.server.start()
    yield made
    made.close()


def chain(lab: ServiceLab, patterns: tuple[int, ...]) -> list[tuple[Backup, dict[str, bytes]]]:
    """A backup after each write, with what it must hold."""
    made = []
    for pattern in patterns:
        lab.write(pattern)
        made.append((lab.back_up(), lab.content()))
    return made


def damage(folder: Path, name: str) -> None:
    """Flips a byte in each object of this name below a folder of the store."""
    for path in folder.rglob(name):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0xFF
            path.write_bytes(data)


INCREMENTAL = [Mode.INCREMENTAL, Mode.INCREMENTAL]
RESCAN = [Mode.RESCAN, Mode.RESCAN]


def modes(backup: Backup) -> list[Mode]:
    return [disk.mode for disk in backup.disks]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_after_the_newest_are_deleted_the_next_is_incremental(lab: ServiceLab, count: int) -> None:
    made = chain(lab, (1, 2, 3, 4))
    for doomed, _ in reversed(made[-count:]):
        lab.delete(doomed)
    lab.repositories.collect(lambda _: None)
    lab.write(9)
    content = lab.content()
    last = lab.back_up()
    lab.write(10)
    after = lab.back_up()

    assert (modes(last), modes(after)) == (INCREMENTAL, INCREMENTAL)
    assert (lab.saved(last), lab.saved(after)) == (content, lab.content())
    assert last.read_bytes < last.restored_bytes
    assert lab.tracking() == (after.tracking,)
    assert [lab.saved(each) for each, _ in made[:-count]] == [c for _, c in made[:-count]]


def test_one_in_the_middle_is_no_predecessor_once_it_is_gone(lab: ServiceLab) -> None:
    made = chain(lab, (1, 2, 3))
    lab.delete(made[1][0])
    lab.delete(made[2][0])
    lab.server.power_off()
    last = lab.back_up()

    assert modes(last) == INCREMENTAL
    assert lab.saved(last) == lab.content()


@pytest.mark.parametrize("count", [1, 3], ids=["the only one", "one that a token was moved to"])
def test_any_crash_of_a_deletion_loses_no_write(tmp_path: Path, count: int) -> None:
    reached_end = False
    for crash_at in range(1, CLOCK_CALLS_MAX):
        lab = ServiceLab(tmp_path / str(crash_at))
        lab.server.start()
        made = chain(lab, (1, 2, 3)[:count])
        if count > 1:
            lab.delete(made.pop()[0])
        doomed, _ = made.pop()

        lab.clock.crash_at = crash_at
        with contextlib.suppress(Crash):
            lab.delete(doomed)
            reached_end = True
        lab.clock.crash_at = 0
        lab.write(4)
        last = lab.back_up()

        assert lab.saved(last) == lab.content()
        assert [lab.saved(backup) for backup, _ in made] == [content for _, content in made]
        assert modes(last) == INCREMENTAL or not made
        assert {backup.state for backup in lab.listed()} == {BackupState.AVAILABLE}
        assert all(task.state is not TaskState.RUNNING for task in lab.tasks())
        assert lab.tracking() == (last.tracking,)
        lab.close()
        if reached_end:
            return
    pytest.fail(f"a deletion asks for the time more than {CLOCK_CALLS_MAX} times")


def test_a_deletion_that_failed_at_its_tombstone_keeps_the_move_apart(lab: ServiceLab) -> None:
    """While the backup is still there its token stands where it stood."""
    made = chain(lab, (1, 2))
    for crash_at in range(1, CLOCK_CALLS_MAX):
        lab.clock.crash_at = crash_at
        with contextlib.suppress(Crash):
            lab.delete(made[1][0])
        lab.clock.crash_at = 0
        with lab.catalog.transaction() as transaction:
            tokens = servers.tokens(transaction, lab.project_id, lab.server.id)
            moves = token_moves.of_server(transaction, lab.project_id, lab.server.id)
        if moves:
            break

    assert {token.backup_id for token in tokens.values()} == {made[1][0].id}
    assert set(moves.values()) == {frozenset({made[0][0].id})}


def test_a_deletion_without_a_predecessor_lets_go_of_the_server(lab: ServiceLab) -> None:
    [(only, _)] = chain(lab, (1,))
    lab.delete(only)

    assert lab.tracking() == ()
    next_one = lab.back_up()
    assert modes(next_one) == [Mode.FULL, Mode.FULL]
    assert {disk.reason for disk in next_one.disks} == {"its last backup was deleted"}


def test_a_host_out_of_reach_stops_no_deletion_and_is_let_go_later(lab: ServiceLab) -> None:
    made = chain(lab, (1, 2))
    lab.delete(made[0][0])
    held = lab.tracking()
    lab.faults.on("tracking", HypervisorUnavailable("qemu:///system", "no answer"), times=2)
    lab.delete(made[1][0])
    lab.servers.stop("web")
    still_held = lab.tracking()
    lab.servers.start("web")

    assert lab.listed() == []
    assert held == still_held == (made[1][0].tracking,)
    assert lab.tracking() == ()
    lab.faults.assert_all_fired()


@pytest.mark.parametrize("of", [0, 1], ids=["the one before", "its own"])
def test_where_a_manifest_is_damaged_the_next_is_not_incremental(
    lab: ServiceLab, tmp_path: Path, of: int
) -> None:
    made = chain(lab, (1, 2))
    damage(tmp_path / "store" / "manifests", f"*{made[of][0].id}")
    lab.delete(made[1][0])
    lab.write(3)
    last = lab.back_up()

    assert modes(last) == (RESCAN if of else [Mode.FULL, Mode.FULL])
    assert lab.saved(last) == lab.content()
    assert lab.tracking() == (last.tracking,)


def test_a_record_that_was_damaged_is_not_believed(lab: ServiceLab) -> None:
    made = chain(lab, (1, 2))
    lab.delete(made[1][0])
    with lab.catalog.transaction() as transaction:
        transaction.exec_driver_sql("UPDATE token_moves SET blocks = substr(blocks, 1, 5)")
    last = lab.back_up()

    assert modes(last) == RESCAN
    assert last.disks[0].reason == "the backup at which tracking began was deleted"
    assert lab.saved(last) == lab.content()


def test_a_disk_that_changed_in_too_many_places_is_read_whole(lab: ServiceLab) -> None:
    made = chain(lab, (1, 2, 3))
    lab.delete(made[2][0])
    full = BlockSet.of((2 * i + 1, 2 * i + 2) for i in range(10, RUNS_MAX + 10))
    assert full is not None
    vda = made[1][0].disks[0].disk_id
    with lab.catalog.transaction() as transaction:
        place = vda, made[1][0].id
        token_moves.add(transaction, lab.project_id, place, made[2][0].tracking, full)
    lab.delete(made[1][0])
    last = lab.back_up()

    assert modes(last) == [Mode.RESCAN, Mode.INCREMENTAL]
    assert lab.saved(last) == lab.content()

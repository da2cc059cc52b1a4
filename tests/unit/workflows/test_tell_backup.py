"""What backups give cause to tell of, through the whole of a backup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete

from csbs.catalog import backups, events
from csbs.catalog.event_tables import tracking_watches
from csbs.domain.backup import BackupState, Mode
from csbs.domain.backup_plan import Token
from csbs.domain.errors import CsbsError, DriverFailed, TrackingLost
from csbs.domain.events import Event, EventKind
from csbs.domain.ids import BackupId
from csbs.workflows.records import record_commit
from csbs.workflows.tell_backup import tell_commit
from tests.unit.workflows.service_lab import ServiceLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path)
    yield made
    made.catalog.close()


def told(lab: ServiceLab) -> list[Event]:
    with lab.catalog.transaction() as transaction:
        return events.page(transaction, lab.project_id, limit=100)


def lose_tracking(lab: ServiceLab) -> None:
    """At the next backup, as a host that lost power does."""
    lab.faults.on("begin_backup", TrackingLost("web", "the bitmap is broken"))


def test_two_runs_in_a_row_without_tracking_are_told_with_the_reason(lab: ServiceLab) -> None:
    lab.write(1)
    lab.back_up()
    lose_tracking(lab)
    assert lab.back_up().disks[0].mode is Mode.RESCAN
    assert told(lab) == []
    lose_tracking(lab)
    second = lab.back_up()
    lose_tracking(lab)
    lab.back_up()

    [event] = told(lab)
    assert (event.kind, event.facts["backup_id"]) == (EventKind.RUN_UNTRACKED, second.id)
    assert event.facts["disks"] == [
        {"target": target, "mode": "rescan", "reason": "the bitmap is broken"}
        for target in ("vda", "vdb")
    ]


@pytest.mark.parametrize("tracked", [True, False])
def test_only_a_disk_that_was_tracked_is_told_of(lab: ServiceLab, tracked: object) -> None:
    lab.write(1)
    first = lab.back_up()
    disk = replace(first.disks[0], mode=Mode.RESCAN, reason="a raw image")
    token = Token(name=first.tracking, backup_id=first.id, size_bytes=1) if tracked else None
    with lab.catalog.transaction() as transaction:
        transaction.execute(delete(tracking_watches))
    for number in range(3):
        backup = replace(first, id=BackupId(f"b{number}"), disks=(disk,))
        with lab.catalog.transaction() as transaction:
            tell_commit(transaction, backup, [(disk.disk_id, token)], at=lab.clock())

    assert [each.facts["backup_id"] for each in told(lab)] == (["b2"] if tracked else [])


def test_a_write_that_tracking_missed_is_told(lab: ServiceLab) -> None:
    lab.write(1)
    lab.back_up()
    lab.server.power_off()
    lab.server.write_unseen("vda", offset=65536, size=65536, pattern=99)
    second = lab.back_up()

    [event] = told(lab)
    assert (event.kind, event.facts["backup_id"]) == (EventKind.AUDIT_MISMATCH, second.id)


def test_a_commit_that_is_recorded_again_tells_nothing_new(lab: ServiceLab) -> None:
    lab.write(1)
    lab.back_up()
    for _ in range(2):
        lose_tracking(lab)
        newest = lab.back_up()
    before = told(lab)

    with lab.repositories.shared("again") as repository:
        for _ in range(3):
            record_commit(lab.backups.records(repository), newest)

    assert told(lab) == before
    with lab.catalog.transaction() as transaction:
        again = backups.get(transaction, lab.project_id, newest.id)
    assert again.state is BackupState.AVAILABLE


def test_a_backup_that_fails_is_one_event(lab: ServiceLab) -> None:
    lab.faults.on("begin_backup", DriverFailed("web", "vda", "the backup", "no space"))
    with pytest.raises(CsbsError):
        lab.back_up()

    [event] = told(lab)
    assert event.kind is EventKind.TASK_FAILED
    assert event.facts["task_kind"] == "backup"

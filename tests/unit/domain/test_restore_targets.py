"""Where a restore writes to, as a caller says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from csbs.domain.backup import Backup
from csbs.domain.errors import DiskTooSmall
from csbs.domain.identity import FoundBy, Match
from csbs.domain.ids import DiskId, ServerId, disk_backup_id
from csbs.domain.restore_plan import RestorePlan, TargetShared, plan_restore
from csbs.domain.restore_targets import (
    DataToSystemDisk,
    DiskBackupForeign,
    DiskForeign,
    DiskSwapped,
    DiskTarget,
    RestoreElsewhere,
    RestorePartial,
    TargetTwice,
    require_agreed,
    require_own_server,
)
from csbs.testing.still_driver import still_disk
from csbs.testing.values import make_backup

SYSTEM, DATA, NEW = DiskId("d1"), DiskId("d2"), DiskId("d3")
MADE = make_backup(1, {"d1": 1, "d2": 1})
BACKUP: Backup = replace(
    MADE,
    disks=tuple(
        replace(each, size_bytes=10, bootable=each.disk_id == SYSTEM, source=f"/{each.disk_id}")
        for each in MADE.disks
    ),
)


def plan(*, new_size_bytes: int = 10, new_shared: bool = False) -> RestorePlan:
    """Both disks of the backup are there, and one that was added since."""
    disks = (
        still_disk("vda", "web", size_bytes=10, bootable=True),
        still_disk("vdb", "web", size_bytes=10),
        still_disk("vdc", "web", size_bytes=new_size_bytes, shared=new_shared),
    )
    matches = [Match(disk, None, FoundBy.SERIAL) for disk in disks]
    return plan_restore(BACKUP, matches, [SYSTEM, DATA, NEW])


def target(part: DiskId, disk: DiskId) -> DiskTarget:
    return DiskTarget(disk_backup_id(BACKUP.id, part), disk)


WHOLE = [target(SYSTEM, SYSTEM), target(DATA, DATA)]


def test_all_disks_to_themselves() -> None:
    require_agreed(plan(), WHOLE)
    require_agreed(plan(), list(reversed(WHOLE)))


def test_a_disk_that_was_removed_need_not_be_named() -> None:
    matches = [Match(still_disk("vda", "web", size_bytes=10), None, FoundBy.SERIAL)]

    require_agreed(plan_restore(BACKUP, matches, [SYSTEM]), WHOLE[:1])


@pytest.mark.parametrize(
    ("targets", "refusal"),
    [
        ([], RestorePartial),
        (WHOLE[:1], RestorePartial),
        ([*WHOLE, WHOLE[0]], TargetTwice),
        ([WHOLE[0], target(DATA, SYSTEM)], TargetTwice),
        ([WHOLE[0], DiskTarget("foreign", DATA)], DiskBackupForeign),
        ([WHOLE[0], target(DATA, DiskId("foreign"))], DiskForeign),
        ([target(DATA, SYSTEM), target(SYSTEM, DATA)], DataToSystemDisk),
        ([target(SYSTEM, DATA), target(DATA, SYSTEM)], DiskSwapped),
        ([WHOLE[0], target(DATA, NEW)], DiskSwapped),
    ],
)
def test_what_is_not_what_a_restore_does_is_refused(
    targets: list[DiskTarget], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        require_agreed(plan(), targets)


def test_another_disk_is_refused_for_what_would_hurt_most() -> None:
    wanted = [WHOLE[0], target(DATA, NEW)]

    with pytest.raises(TargetShared):
        require_agreed(plan(new_shared=True, new_size_bytes=1), wanted)
    with pytest.raises(DiskTooSmall):
        require_agreed(plan(new_size_bytes=1), wanted)


def test_a_backup_goes_to_its_own_server() -> None:
    require_own_server(ServerId("s"), "b", ServerId("s"))
    with pytest.raises(RestoreElsewhere):
        require_own_server(ServerId("s"), "b", ServerId("t"))

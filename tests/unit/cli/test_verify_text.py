"""What a person reads of a verification."""

from __future__ import annotations

from csbs.cli.output import ranges_text
from csbs.cli.repository import _verified_text
from csbs.documents.base import ranges_of
from csbs.documents.repository import VerifyDocument
from csbs.domain.ids import BackupId, DiskId
from csbs.repository import DamagedObject, VerifyReport
from csbs.services.verification import DamagedBackup, DamagedDisk, VerifyDone

BLOCK = 65536


def test_a_whole_repository_is_two_lines() -> None:
    keys = frozenset({"a", "b"})
    report = VerifyReport(keys=keys, nodes=4, packs=9, packs_read=3, read_bytes=BLOCK)

    assert _verified_text(VerifyDocument.of(VerifyDone(report=report))).splitlines() == [
        "checked 2 backups and 9 packs; read all bytes of 3 (64.0 KiB)",
        "no damage was found",
    ]


def test_damage_is_named_and_what_was_left_off_is_counted() -> None:
    report = VerifyReport(
        keys=frozenset({"a"}),
        nodes=1,
        objects=(DamagedObject("packs/ab", "object packs/ab is damaged"),),
        objects_left_off=2,
        kept=False,
    )
    disk = DamagedDisk(
        disk_id=DiskId("d"),
        target="vda",
        lost_bytes=BLOCK,
        ranges=((BLOCK, BLOCK),),
        ranges_left_off=3,
    )
    lost = DamagedBackup(
        id=BackupId("1"), name="b1", server_id="s", server_name="web", disks=(disk,)
    )
    gone = DamagedBackup(id=BackupId("2"), name="", server_id="s", server_name="web", why="gone")

    assert _verified_text(
        VerifyDocument.of(VerifyDone(report=report, backups=(gone, lost)))
    ).splitlines()[1:] == [
        "damaged: object packs/ab is damaged",
        "and 2 objects more",
        "backup 2 (2) of server web is lost: gone",
        "backup b1 (1) of server web has lost:",
        "disk vda: 64.0 KiB",
        "  offset 65536, length 65536",
        "  and 3 ranges that no report lists",
        "this could not be kept: backups will not heal it before the next verification",
    ]


def test_damage_that_costs_no_backup_anything_says_so() -> None:
    report = VerifyReport(nodes=1, objects=(DamagedObject("k", "it is damaged"),))
    without_keys = VerifyReport(objects=(DamagedObject("k", "it is damaged"),))

    assert _verified_text(VerifyDocument.of(VerifyDone(report=report))).splitlines()[-1] == (
        "no block of a backup is known to be lost"
    )
    assert _verified_text(VerifyDocument.of(VerifyDone(report=without_keys))).splitlines()[-1] == (
        "damaged: it is damaged"
    )


def test_a_person_sees_the_first_of_many_ranges() -> None:
    lines = ranges_text(ranges_of((n, 1) for n in range(25))).splitlines()

    assert lines[0] == "  offset 0, length 1"
    assert lines[20:] == ["  and 5 more (--json lists them)"]

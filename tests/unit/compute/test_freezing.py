"""Freezing: only where a thaw is sure, and thawed whatever happens."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.compute.libvirt.clean_up import clean_up
from csbs.compute.libvirt.folders import HostFolders
from csbs.compute.libvirt.freezing import Freezing, begin_frozen
from csbs.compute.libvirt.guard import ScratchLimits
from csbs.compute.libvirt.live_job import LiveParts
from csbs.compute.libvirt.thaw_debt import debt_file, owe_thaw, pay_late_thaw, pay_thaw
from csbs.compute.libvirt.tracking import Tracking
from csbs.domain.clock import utc_now
from csbs.domain.consistency import Consistency, ReachedConsistency
from csbs.domain.errors import DriverFailed, OperationCancelled
from tests.unit.compute.guest import COMMANDS, SERVER, FakeClock, FakeGuest, connect


class Lab:
    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.guest = FakeGuest()
        self.clock = FakeClock()
        self.connection = connect(self.guest, patch)
        folders = HostFolders(run=folder, scratch=folder)
        folders.run_of(SERVER).mkdir()
        self.debt = debt_file(folders, SERVER)
        self.parts = Freezing(
            connection=self.connection,
            folders=folders,
            budget_s=3.0,
            monotonic=self.clock.monotonic,
            sleep=self.clock.sleep,
            new_id=lambda: "0123456789",
        )
        #: What the guest was like when the disks were opened.
        self.begun: list[bool] = []

    def begin_frozen(self, *, without_watchdog: bool = False) -> ReachedConsistency:
        return begin_frozen(self.parts, SERVER, self.begin, without_watchdog=without_watchdog)

    def begin(self) -> None:
        self.begun.append(self.guest.frozen)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def test_disks_are_opened_while_all_is_frozen(lab: Lab) -> None:
    reached = lab.begin_frozen()

    assert reached.level is Consistency.FILESYSTEM
    assert reached.freeze is not None
    assert (reached.freeze.file_systems, reached.freeze.frozen_in_guest_ms) == (2, 310)
    assert lab.begun == [True]
    assert not lab.guest.frozen
    assert not lab.debt.exists()


def test_the_watchdog_is_started_and_armed_before_the_freeze(lab: Lab) -> None:
    lab.begin_frozen()

    started, armed, finished = lab.guest.scripts
    assert "systemd-run" in started
    assert "/run/csbs-thaw-01234567 450 6000" in started
    assert armed.endswith("/arm")
    assert "rm -rf /run/csbs-thaw-01234567" in finished
    before = lab.guest.asked[: lab.guest.asked.index("guest-fsfreeze-freeze")]
    assert before.count("guest-exec") == 2


@pytest.mark.parametrize("lacking", COMMANDS)
def test_without_a_sure_thaw_nothing_is_frozen(lab: Lab, lacking: str) -> None:
    lab.guest.commands = tuple(each for each in COMMANDS if each != lacking)

    reached = lab.begin_frozen()

    assert (reached.level, lab.begun) == (Consistency.CRASH, [False])
    assert reached.reason == f"the guest agent does not allow {lacking}"
    assert "guest-fsfreeze-freeze" not in lab.guest.asked


def test_a_server_without_an_agent_is_not_asked(lab: Lab) -> None:
    lab.guest.xml = "<domain><devices/></domain>"

    reached = lab.begin_frozen()

    assert (reached.level, reached.reason) == (Consistency.CRASH, "the server has no guest agent")
    assert (lab.begun, lab.guest.asked) == ([False], [])


def test_a_cancel_while_the_agent_is_asked_begins_nothing(lab: Lab) -> None:
    with pytest.raises(OperationCancelled):
        begin_frozen(lab.parts, SERVER, lab.begin, without_watchdog=False, cancelled=lambda: True)

    assert (lab.begun, lab.guest.scripts) == ([], [])
    assert not lab.debt.exists()


def test_a_guest_that_hears_too_late_is_not_frozen(lab: Lab) -> None:
    lab.guest.on_ask = lambda: lab.clock.sleep(0.8)

    reached = lab.begin_frozen()

    assert reached.reason == "the guest agent takes longer than 1.5 s to start a program"
    assert lab.begun == [False]


def test_a_freeze_that_failed_is_thawed_before_the_disks_are_opened(lab: Lab) -> None:
    lab.guest.fails["guest-fsfreeze-freeze"] = "no answer"

    reached = lab.begin_frozen()

    assert (reached.level, lab.begun) == (Consistency.CRASH, [False])
    assert "no answer" in reached.reason
    assert lab.guest.asked.count("guest-fsfreeze-thaw") == 2
    assert not lab.debt.exists()


def test_disks_that_cannot_be_opened_leave_no_frozen_guest(lab: Lab) -> None:
    def fail() -> None:
        raise DriverFailed("web", "vda", "the backup", "no space")

    with pytest.raises(DriverFailed):
        begin_frozen(lab.parts, SERVER, fail, without_watchdog=False)

    assert not lab.guest.frozen
    assert not lab.debt.exists()


def test_a_thaw_that_fails_stays_owed_and_the_next_backup_freezes_nothing(lab: Lab) -> None:
    lab.guest.fails["guest-fsfreeze-thaw"] = "no answer"
    first = lab.begin_frozen()
    second = lab.begin_frozen()

    assert first.reason == "2 file systems were frozen, and 0 still were at the end"
    assert second.reason.startswith("a thaw of the guest is still owed: ")
    assert lab.guest.asked.count("guest-fsfreeze-freeze") == 1
    assert lab.debt.exists()


def test_a_debt_ends_when_nothing_is_frozen_any_more(lab: Lab) -> None:
    lab.guest.frozen = True
    owe_thaw(lab.connection, lab.debt, SERVER, late_s=10)

    assert pay_thaw(lab.connection, lab.debt, SERVER) is None
    assert lab.guest.asked.count("guest-fsfreeze-thaw") == 2
    assert not lab.debt.exists()


@pytest.mark.parametrize("gone", ["off", "started again", "undefined"])
def test_a_debt_ends_with_the_qemu_that_it_names(lab: Lab, gone: str) -> None:
    owe_thaw(lab.connection, lab.debt, SERVER, late_s=10)
    lab.guest.run_id = {"off": -1, "started again": 8}.get(gone, 7)
    lab.guest.undefined = gone == "undefined"

    assert pay_thaw(lab.connection, lab.debt, SERVER) is None
    assert lab.guest.asked == []
    assert not lab.debt.exists()


def test_a_debt_that_was_half_recorded_is_owed(lab: Lab) -> None:
    lab.debt.touch()

    assert pay_thaw(lab.connection, lab.debt, SERVER) is None
    assert "guest-fsfreeze-thaw" in lab.guest.asked


def test_others_leave_a_freeze_alone_that_is_under_way(lab: Lab) -> None:
    lab.guest.frozen = True
    owe_thaw(lab.connection, lab.debt, SERVER, late_s=10)

    frozen = []
    for now_s in (9.9, 10.1):
        assert pay_late_thaw(lab.connection, lab.debt, SERVER, now_s=now_s) is None
        frozen.append(lab.guest.frozen)

    assert frozen == [True, False]
    assert not lab.debt.exists()


def test_who_holds_the_server_pays_at_once(lab: Lab) -> None:
    lab.guest.frozen = True
    owe_thaw(lab.connection, lab.debt, SERVER, late_s=10)
    parts = LiveParts(
        connection=lab.connection,
        folders=lab.parts.folders,
        tracking=Tracking(lab.connection, utc_now),
        sleep=lab.clock.sleep,
        scratch_limits=ScratchLimits(),
        freezing=lab.parts,
    )

    assert clean_up(parts, SERVER) == [
        "thawed the guest's file systems, which csbs had left frozen"
    ]

    assert not lab.guest.frozen
    assert not lab.debt.exists()


def test_who_accepts_it_is_frozen_without_a_watchdog(lab: Lab) -> None:
    lab.guest.commands = ("guest-fsfreeze-freeze", "guest-fsfreeze-thaw")

    reached = lab.begin_frozen(without_watchdog=True)

    assert (reached.level, lab.begun) == (Consistency.FILESYSTEM, [True])
    assert reached.freeze is not None
    assert reached.freeze.frozen_in_guest_ms is None
    assert lab.guest.scripts == []


def test_a_debt_that_cannot_be_recorded_freezes_nothing(lab: Lab) -> None:
    lab.debt.parent.rmdir()

    reached = lab.begin_frozen()

    assert (reached.level, lab.begun) == (Consistency.CRASH, [False])
    assert str(lab.debt.parent) in reached.reason
    assert "rm -rf /run/csbs-thaw-01234567" in lab.guest.scripts[-1]


def test_our_own_timer_thaws_while_the_disks_are_still_being_opened(lab: Lab) -> None:
    thawed = threading.Event()
    lab.parts = replace(lab.parts, budget_s=0.05)
    lab.guest.on_thaw = thawed.set

    def open_slowly() -> None:
        assert thawed.wait(30), "nobody thaws"

    reached = begin_frozen(lab.parts, SERVER, open_slowly, without_watchdog=False)

    assert reached.level is Consistency.CRASH
    assert "longer than the file systems may be frozen (0.05 s)" in reached.reason
    assert not lab.guest.frozen

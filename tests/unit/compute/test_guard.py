"""The guard: it ends a job that harms its server, resumes the server, and pays a late thaw."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from csbs.compute.libvirt.binding import libvirt
from csbs.compute.libvirt.guard import (
    GuardOrder,
    ScratchLimits,
    reason_of,
    require_scratch_space,
    watch,
)
from csbs.compute.libvirt.thaw_debt import owe_thaw
from csbs.domain.errors import HypervisorUnavailable, ScratchFull
from tests.unit.compute.guest import SERVER, FakeClock, FakeGuest, connect

OURS = "<domainbackup><server socket='/run/csbs/x.sock'/></domainbackup>"
LIMIT_BYTES = 3 * 1024**2
LOOKS_MAX = 20_000
STUCK = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR]


class Lab:
    """A guard that is run until it ends; `script` says what happens at which look."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.guest = FakeGuest(job_xml=OURS, on_look=self._look)
        self.clock = FakeClock()
        self.connection = connect(self.guest, patch)
        self.report = folder / "report"
        self.debt = folder / "debt"
        self.script: dict[int, Callable[[], None]] = {}
        self.looks = 0
        self.scratch = folder

    def watch(
        self, *, max_bytes: int = LIMIT_BYTES, reserve_bytes: int = 0, was_stuck: bool = False
    ) -> None:
        order = GuardOrder(
            uri="",
            server_id=SERVER,
            socket="/run/csbs/x.sock",
            scratch=str(self.scratch),
            max_bytes=max_bytes,
            reserve_bytes=reserve_bytes,
            was_stuck=was_stuck,
            thaw_debt=str(self.debt),
            report=str(self.report),
        )
        watch(order, self.connection, now=self.clock.monotonic, pause=self.clock.sleep)

    def end_job(self) -> None:
        self.guest.job_xml = None

    def _look(self) -> None:
        self.looks += 1
        assert self.looks < LOOKS_MAX, "the guard never ends"
        self.script.pop(self.looks, lambda: None)()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def test_it_ends_with_the_job(lab: Lab) -> None:
    lab.script[5] = lab.end_job
    lab.watch()

    assert lab.guest.asked == []
    assert reason_of(lab.report) is None


def test_it_waits_for_the_job_to_begin_and_gives_up_at_last(lab: Lab) -> None:
    lab.end_job()
    lab.watch()

    assert 120 < lab.clock.now_s < 121


def test_a_job_that_is_not_ours_is_left_alone(lab: Lab) -> None:
    lab.guest.job_xml = "<domainbackup><server socket='/foreign.sock'/></domainbackup>"
    lab.guest.used_bytes = LIMIT_BYTES + 1
    lab.watch()

    assert lab.guest.asked == []


def test_a_job_above_the_cap_is_ended(lab: Lab) -> None:
    lab.guest.used_bytes = LIMIT_BYTES + 1
    lab.watch()

    assert lab.guest.asked == ["abort"]
    assert reason_of(lab.report) == "the server overwrote more than 3 MiB during the backup"


def test_a_job_that_eats_the_reserve_is_ended(lab: Lab) -> None:
    free_bytes = shutil.disk_usage(lab.scratch).free
    lab.watch(reserve_bytes=free_bytes * 2)

    assert lab.guest.asked == ["abort"]
    assert "must stay free" in (reason_of(lab.report) or "")


@pytest.mark.parametrize("lost", ["scratch", "report"])
def test_a_folder_that_is_gone_keeps_it_from_nothing(lab: Lab, lost: str) -> None:
    gone = lab.scratch / "gone"
    if lost == "scratch":
        lab.scratch = gone
    else:
        lab.report = gone / "report"
        lab.guest.used_bytes = LIMIT_BYTES + 1
    lab.watch()

    assert lab.guest.asked == ["abort"]
    if lost == "scratch":
        assert "nobody can tell how much is free" in (reason_of(lab.report) or "")


def test_an_empty_report_is_no_reason(lab: Lab) -> None:
    lab.report.touch()

    assert reason_of(lab.report) is None


def test_a_server_that_the_job_paused_goes_on(lab: Lab) -> None:
    def pause() -> None:
        lab.guest.state_and_reason = STUCK

    lab.script[3] = pause
    lab.watch()

    assert lab.guest.asked == ["abort", "resume"]
    assert reason_of(lab.report) == "the server was paused by an I/O error"


@pytest.mark.parametrize("used_bytes", [0, LIMIT_BYTES + 1], ids=["harmless", "above the cap"])
def test_a_server_that_was_stuck_before_the_job_stays_as_it_was(lab: Lab, used_bytes: int) -> None:
    lab.guest.state_and_reason = STUCK
    lab.guest.used_bytes = used_bytes
    lab.script[3] = lab.end_job
    lab.watch(was_stuck=True)

    assert lab.guest.asked == (["abort"] if used_bytes else [])


def test_a_server_that_somebody_paused_stays_paused(lab: Lab) -> None:
    lab.guest.state_and_reason = [libvirt.VIR_DOMAIN_PAUSED, 1]
    lab.script[3] = lab.end_job
    lab.watch()

    assert lab.guest.asked == []


def test_it_outlives_a_restart_of_libvirt(lab: Lab) -> None:
    def gone() -> None:
        raise HypervisorUnavailable("qemu:///system", "restarted")

    lab.script.update({3: gone, 4: gone, 6: lab.end_job})
    lab.watch()

    assert lab.looks == 6


def test_it_does_not_wait_for_ever_for_a_libvirt_that_is_gone(lab: Lab) -> None:
    def gone() -> None:
        raise HypervisorUnavailable("qemu:///system", "removed")

    lab.script.update(dict.fromkeys(range(3, LOOKS_MAX), gone))
    lab.watch()

    assert 3600 < lab.clock.now_s < 3602


def test_it_ends_with_the_server(lab: Lab) -> None:
    lab.guest.undefined = True
    lab.watch()

    assert lab.guest.asked == []


def test_it_pays_a_thaw_that_is_late(lab: Lab) -> None:
    lab.guest.frozen = True
    owe_thaw(lab.connection, lab.debt, SERVER, late_s=3.5)
    lab.script[1] = lab.end_job
    lab.watch()

    assert not lab.debt.exists()
    assert not lab.guest.frozen
    # Not before: csbs itself thaws first.
    assert lab.looks * 0.2 > 3.5


def test_it_does_not_ask_a_deaf_guest_for_ever(lab: Lab) -> None:
    owe_thaw(lab.connection, lab.debt, SERVER, late_s=3.5)
    lab.guest.fails["guest-fsfreeze-thaw"] = "no answer"
    lab.script[1] = lab.end_job
    lab.watch()

    assert lab.debt.exists()


def test_without_the_reserve_no_job_begins(tmp_path: Path) -> None:
    free_bytes = shutil.disk_usage(tmp_path).free
    limits = ScratchLimits(reserve_bytes=free_bytes * 2)

    with pytest.raises(ScratchFull, match="backup of server web1"):
        require_scratch_space("web1", tmp_path, limits)

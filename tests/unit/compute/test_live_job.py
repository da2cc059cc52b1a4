"""A job of a running server that ends by itself: why."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from csbs.compute.libvirt.folders import HostFolders
from csbs.compute.libvirt.freezing import Freezing
from csbs.compute.libvirt.guard import Guard, ScratchLimits
from csbs.compute.libvirt.live_job import JobPlan, LiveJob, LiveParts
from csbs.compute.libvirt.tracking import Tracking
from csbs.domain.clock import new_id, utc_now
from csbs.domain.errors import CsbsError, DriverFailed, ServerPoweredOff
from tests.unit.compute.guest import SERVER, FakeClock, FakeGuest, connect


@pytest.mark.parametrize(
    ("later", "expected"),
    [(-1, ServerPoweredOff), (8, DriverFailed), (7, DriverFailed)],
    ids=["stops soon", "was started again", "runs on"],
)
def test_a_server_that_is_about_to_stop_was_powered_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int, expected: type[CsbsError]
) -> None:
    guest, clock = FakeGuest(), FakeClock()

    def sleep(duration_s: float) -> None:
        clock.sleep(duration_s)
        guest.run_id = later

    connection = connect(guest, monkeypatch)
    folders = HostFolders(run=tmp_path, scratch=tmp_path)
    parts = LiveParts(
        connection=connection,
        folders=folders,
        tracking=Tracking(connection, utc_now),
        sleep=sleep,
        scratch_limits=ScratchLimits(),
        freezing=Freezing(
            connection=connection,
            folders=folders,
            budget_s=3,
            monotonic=clock.monotonic,
            sleep=sleep,
            new_id=new_id,
        ),
    )
    plan = JobPlan(
        server_name="web",
        run_id=guest.run_id,
        was_stuck=False,
        socket=tmp_path / "x.sock",
        disks=(),
        left_out=(),
        report=tmp_path / "x.report",
    )
    job = LiveJob(parts, SERVER, plan, None, cast("Guard", None))  # it is not looked at any more
    with pytest.raises(expected) as caught:
        job.check()

    assert caught.type is expected
    assert clock.now_s < 11

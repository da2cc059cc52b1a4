"""A real server is backed up by itself, by the policy that it belongs to, whatever dies."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime

import pytest

from csbs.app import open_app
from csbs.config import Settings
from csbs.domain.backup import Backup, BackupState, Mode
from csbs.domain.clock import utc_now
from csbs.domain.ids import ServerId
from csbs.domain.policy import BoundServer, NewPolicy, NewSchedule
from csbs.services.project_app import App
from csbs.testing.dying import dying_environment
from csbs.testing.libvirt_domains import DomainServer
from tests.integration.libvirt.conftest import DISKS

pytestmark = pytest.mark.host

KIB = 1024
MIB = 1024 * KIB
#: An hour passes in so many seconds.
_HOUR_S = 6
_TIMEOUT_S = 60
_HOURLY = "RRULE:FREQ=DAILY;BYMINUTE=0;BYHOUR=" + ",".join(map(str, range(24)))


class Hurried:
    """See `csbs.testing.hurried_service`."""

    def __init__(self, settings: Settings, epoch: datetime) -> None:
        arguments = [epoch.isoformat(), str(3600 / _HOUR_S)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "csbs.testing.hurried_service", *arguments],
            env=dying_environment(settings) | {"CSBS_BOOTSTRAP_PASSWORD": "no-matter-which-1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, line: str) -> None:
        """Until it says so, or a larger number."""
        assert self._process.stdout is not None
        while True:
            said = self._process.stdout.readline().strip()
            assert said, "it ended"
            if said == line or (said.isdecimal() and line.isdecimal() and int(said) >= int(line)):
                return

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=_TIMEOUT_S)

    def stop(self) -> None:
        self._process.communicate(timeout=_TIMEOUT_S)
        assert self._process.returncode == 0


def bind(settings: Settings, server: DomainServer) -> None:
    with open_app(settings) as app:
        app.protection.policies.create(
            NewPolicy(
                name="hourly",
                servers=[BoundServer(id=ServerId(server.id), kind="OS::Nova::Server", name="")],
                schedules=[NewSchedule(pattern=_HOURLY)],
            )
        )


def test_backups_appear_by_themselves_and_a_kill_costs_at_most_one(
    offline_server: DomainServer, settings: Settings
) -> None:
    server = offline_server
    server.start()
    content = {disk.target: bytearray(disk.size_bytes) for disk in DISKS}

    def write(offset: int, pattern: int) -> None:
        for target, bytes_ in content.items():
            server.write(target, offset=offset, size=300 * KIB, pattern=pattern)
            bytes_[offset : offset + 300 * KIB] = bytes([pattern]) * (300 * KIB)

    write(0, 1)
    bind(settings, server)
    epoch = utc_now()
    service = Hurried(settings, epoch)
    try:
        service.wait_for("1")
        write(MIB, 2)
        service.wait_for("2")
        service.wait_for("at work")
        service.kill()
        service = Hurried(settings, epoch)
        service.wait_for("3")
        write(0, 3)
        # The next one may have begun before that.
        service.wait_for("5")
        service.stop()
    finally:
        service.kill()

    with open_app(settings) as app:
        require_runs(app)
        require_content(app, {target: bytes(each) for target, each in content.items()})


def require_runs(app: App) -> None:
    """One backup for each due time, by the tracking of the one before."""
    backups = app.backups.list_all()
    policy = app.protection.policies.find("hourly")
    runs = app.protection.policies.runs(policy.id, limit=100)
    require_names(backups, policy.id)
    assert len({each.checkpoint_id for each in backups}) == len(backups)
    assert {each.checkpoint_id for each in backups} <= {run.id for run in runs}
    assert len({run.due_at for run in runs}) == len(runs)
    # The kill and the stop may each have met one at work.
    assert len(backups) - len(available(backups)) <= 2
    for each in available(backups)[1:]:
        modes = {disk.mode for disk in each.disks if disk.format == "qcow2"}
        assert modes == {Mode.INCREMENTAL}


def available(backups: list[Backup]) -> list[Backup]:
    return [each for each in backups if each.state is BackupState.AVAILABLE]


def require_content(app: App, content: dict[str, bytes]) -> None:
    """The newest backup has it."""
    newest = available(app.backups.list_all())[-1]
    with app.repositories.shared("a test") as repository:
        manifest = repository.manifest(newest.manifest_key)
        for disk in newest.disks:
            image = manifest.image(disk.disk_id)
            assert image is not None
            assert repository.reader(image).read(0, image.size_bytes) == content[disk.target]


def require_names(backups: list[Backup], policy_id: str) -> None:
    for each in backups:
        assert each.name.startswith("autobk_")
        assert (each.auto_trigger, each.policy_id) == (True, policy_id)

"""All disks at one instant, and no write lost: a guest numbers its writes over both disks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from csbs.app import open_app
from csbs.config import Settings
from csbs.domain.backup import Backup, Mode
from csbs.domain.ids import DiskId
from csbs.services.project_app import App
from csbs.testing.guest.sequence import NumberedWrites
from demo.command import CsbsCommand
from tests.e2e.conftest import Running

pytestmark = [pytest.mark.host, pytest.mark.guest, pytest.mark.timeout(600)]

CHAIN = ("crash", "filesystem", "crash", "filesystem", "crash")


@pytest.fixture
def writes(running: Running) -> Iterator[NumberedWrites]:
    begun = NumberedWrites.begin(running.guest.shell)
    yield begun
    begun.end()


@pytest.fixture
def app(running: Running) -> Iterator[App]:
    with open_app(_settings(running.csbs)) as opened:
        yield opened


def _settings(csbs: CsbsCommand) -> Settings:
    return Settings(data_dir=csbs.data_dir, run_dir=csbs.run_dir, scratch_dir=csbs.scratch_dir)


def read_saved(app: App, backup: Backup, target: str, offset: int, size: int) -> bytes:
    """Bytes of a disk in a backup, as a restore writes them."""
    disk_id = next(disk.disk_id for disk in backup.disks if disk.target == target)
    with app.repositories.shared("a test") as repository:
        image = repository.manifest(backup.manifest_key).image(DiskId(disk_id))
        assert image is not None
        return repository.reader(image).read(offset, size)


def test_every_backup_holds_a_prefix_of_the_writes(
    running: Running, app: App, writes: NumberedWrites
) -> None:
    made = []
    for consistency in CHAIN:
        before = writes.newest()
        document = running.csbs(
            "backup", "create", running.guest.name, "--consistency", consistency
        )
        made.append((document["id"], before, writes.newest()))

    for backup_id, before, after in made:
        backup = app.backups.find(backup_id)
        found = writes.found(partial(read_saved, app, backup))
        assert before <= found <= after
        assert {disk.mode for disk in backup.disks} == {Mode.INCREMENTAL}

"""A chain of backups of one server, each held against what its disks held at its instant.

    chain.scribble()                  random writes, zeroes, discards and flushes on all disks
    backup = chain.back_up()          more writes while the job is open
    chain.check_all()                 all backups of the chain are still what they were

What a backup must hold is known in two ways that know nothing of each other: from the writes
themselves, and from the exports of the job, read by `nbdcopy` while it is open.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csbs.catalog import servers
from csbs.compute.base import ComputeDriver, DiskExport
from csbs.compute.libvirt.folders import HostFolders
from csbs.domain.backup import Backup, BackupState
from csbs.domain.errors import CsbsError
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.task import Progress
from csbs.services.backups import BackupService
from csbs.services.project_app import App
from csbs.services.requests import CreateBackup, RestoreRequest
from csbs.testing import by_hand
from csbs.testing.libvirt_domains import DomainDisk, DomainServer, read_export
from csbs.testing.scribbler import Scribbler
from csbs.workflows.run import Watcher

_WRITES = 6

Contents = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup, and what it must hold, by target."""

    backup: Backup
    content: Contents


class Chain:
    """A server of a test and its backups; everything random follows from the seed."""

    def __init__(
        self, app: App, server: DomainServer, *, folders: HostFolders, tmp: Path, seed: int
    ) -> None:
        """`server` is stopped, and its disks are empty."""
        self.server = server
        self.backups: BackupService = app.backups
        self.kept: list[Kept] = []
        sizes = {disk.target: disk.size_bytes for disk in server.disks.values()}
        self.scribbler = Scribbler(sizes, seed)
        self._app = app
        self._folders = folders
        self._tmp = tmp

    @property
    def driver(self) -> ComputeDriver:
        """The product's own."""
        return self.backups.driver

    @property
    def content(self) -> dict[str, bytes]:
        """What the disks hold now."""
        return {target: self.scribbler.content[target] for target in self.server.disks}

    @property
    def tracking(self) -> str:
        """Name of the TrackingPoint of the newest backup."""
        return self.kept[-1].backup.tracking

    def scribble(self) -> None:
        """Writes at random to all disks, whether the server runs or not."""
        # QEMU 7.2 does nothing for a discard while a backup job is open.
        discards = not self.server.has_job()
        for target in self.server.disks:
            self.server.io(target, *self.scribbler.scribble(target, _WRITES, discards=discards))

    def write(self, target: str, *, offset: int, size: int) -> None:
        """Writes data over a range."""
        self.server.io(target, *self.scribbler.fill(target, offset=offset, size=size))

    def resize(self, target: str, size_bytes: int) -> None:
        """Gives a disk another size, whether the server runs or not."""
        by_hand.resize(self.server, target, size_bytes)
        self.scribbler.resized(target, size_bytes)

    def add(self, disk: DomainDisk) -> None:
        """Plugs in a new disk."""
        by_hand.add_disk(self.server, disk)
        self.scribbler.content[disk.target] = bytes(disk.size_bytes)

    def learn(self) -> None:
        """Takes what the images of the stopped server hold for what its disks hold.

        For events that lose writes: nobody knows which.
        """
        for target in self.server.disks:
            self.scribbler.content[target] = self.server.content(target)

    def back_up(self, *, during: Callable[[], None] | None = None) -> Backup:
        """Backs the server up and checks the backup; `during` runs soon after the job began.

        Unless told otherwise, a running server is written to meanwhile.
        """
        expected = self.content
        seen: dict[str, bytes] = {}
        if during is None and self.server.is_active():
            during = self.scribble

        def look_on(exports: Sequence[DiskExport], _check: Callable[[], None]) -> None:
            seen.update({each.target: read_export(each.uri, self._tmp) for each in exports})

        backup = self.backups.create(
            CreateBackup(server=self.server.id, look_on=look_on), _once(during)
        )
        _require_none(differences(expected, seen), "the job's exports differ from the writes")
        _require_none(differences(expected, self.saved(backup)), "the backup is wrong")
        _require_none(self.left_behind(), "left behind")
        self.kept.append(Kept(backup, expected))
        return backup

    def fail(
        self,
        *,
        during: Callable[[], None] | None = None,
        backups: BackupService | None = None,
    ) -> CsbsError:
        """A backup that must fail, of what `during` does or otherwise; returns its error.

        `backups` is the service with other parts.
        """
        try:
            (backups or self.backups).create(CreateBackup(server=self.server.id), _once(during))
        except CsbsError as error:
            return error
        raise AssertionError("the backup succeeded")

    def adopt(self, content: Contents) -> None:
        """Takes a backup that another csbs committed before the newest one into the chain."""
        known = {kept.backup.id for kept in self.kept}
        for backup in self.backups.list_all():
            if backup.state is BackupState.AVAILABLE and backup.id not in known:
                self.kept.insert(-1, Kept(backup, content))

    def delete(self, kept: Kept) -> None:
        """Deletes a backup."""
        self.backups.delete(kept.backup.id, _once(None))
        self.kept.remove(kept)

    def saved(self, backup: Backup) -> dict[str, bytes]:
        """What the repository has for a backup, by target."""
        found = {}
        with self._app.repositories.shared("a test") as repository:
            manifest = repository.manifest(backup.manifest_key)
            for disk in backup.disks:
                image = manifest.image(disk.disk_id)
                assert image is not None
                found[disk.target] = repository.reader(image).read(0, image.size_bytes)
        return found

    def check_all(self) -> None:
        """Every backup of the chain still holds what it must."""
        for number, kept in enumerate(self.kept):
            found = differences(kept.content, self.saved(kept.backup))
            _require_none(found, f"backup {number} is wrong")

    def restorable(self) -> list[Kept]:
        """The backups that fit on the disks as they are now."""
        now = self.content
        return [
            kept
            for kept in self.kept
            if kept.content.keys() == now.keys()
            and all(len(content) <= len(now[target]) for target, content in kept.content.items())
        ]

    def restore(self, kept: Kept) -> None:
        """Restores a backup over the server, which stays stopped, and compares the images."""
        sizes = {target: len(content) for target, content in self.content.items()}
        expected = {
            target: content.ljust(sizes[target], b"\0") for target, content in kept.content.items()
        }
        restores = self._app.restores
        request = RestoreRequest(power_on=False)
        restores.restore(restores.plan(kept.backup.id), _once(None), request)
        self.learn()
        _require_none(differences(expected, self.content), "the restored disks are wrong")

    @property
    def half_restored(self) -> bool:
        """Whether an interrupted restore keeps the server from being used."""
        return self.server.id in self._app.servers.half_restored()

    def left_behind(self) -> list[str]:
        """What no backup needs any more: a job, files, checkpoints and bitmaps."""
        found = [str(path) for path in self._folders.leftovers(self.server.id)]
        if self.server.has_job():
            found.append("a job")
        report = self.driver.tracking(self.server.id)
        held = set(report.checkpoints)
        for names in (*report.usable.values(), *report.broken.values()):
            held.update(names)
        backups = self.backups
        with backups.catalog.transaction() as transaction:
            tokens = servers.tokens(transaction, backups.project_id, self.server.id)
        return [*found, *sorted(held - {token.name for token in tokens.values()})]


def told(backup: Backup) -> dict[str, str]:
    """How each disk was read, and why: ``incremental: changes are tracked``."""
    return {disk.target: f"{disk.mode}: {disk.reason}" for disk in backup.disks}


def differences(expected: Contents, found: Contents) -> list[str]:
    """What is wrong, for people: assertions on whole disks would print them."""
    if expected.keys() != found.keys():
        return [f"disks {sorted(found)}, expected {sorted(expected)}"]
    return [
        f"{target}: {problem}"
        for target, wanted in expected.items()
        if (problem := _difference(wanted, found[target]))
    ]


def _difference(expected: bytes, found: bytes) -> str:
    if len(expected) != len(found):
        return f"{len(found)} bytes, expected {len(expected)}"
    blocks = [
        offset // BLOCK_SIZE
        for offset in range(0, len(expected), BLOCK_SIZE)
        if expected[offset : offset + BLOCK_SIZE] != found[offset : offset + BLOCK_SIZE]
    ]
    return f"blocks {blocks}" if blocks else ""


def _require_none(found: Sequence[str], what: str) -> None:
    """Pytest shows what an assertion compared in tests only, and this is none."""
    if found:
        raise AssertionError(f"{what}: {'; '.join(found)}")


def _once(action: Callable[[], None] | None) -> Watcher:
    """Does `action` at the first sign of progress: the job has begun then."""
    left = [] if action is None else [action]

    def on_progress(_: Progress) -> None:
        if left:
            left.pop()()

    return Watcher(on_progress=on_progress, cancel=threading.Event())

"""Exports: the disks of a backup as image files, with what defines their server again.

<server>-<disk>.qcow2.partial     while it is written; nothing looks whole before all is
<server>-<disk>.qcow2             renamed when all files are durable
<server>.xml                      the server's definition, whose disks are these files
<server>.txt                      what this is, and how to use it
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from csbs.agent.export_disk import NewImage, export_disk
from csbs.agent.rate_limit import RateLimit
from csbs.agent.restore_disk import RestoreOptions
from csbs.compute.base import ComputeDriver
from csbs.domain.backup import Backup, DiskBackup
from csbs.domain.errors import Conflict, Invalid, NotFound, Refused, folder_error
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.task import Progress
from csbs.repository import FileLock, ImageReader, Manifest, OnLoss, Repository
from csbs.services.backups import BackupService
from csbs.services.export_note import export_note
from csbs.services.repositories import RepositoryAccess
from csbs.services.restores import require_restorable
from csbs.workflows.holes import Holes, Refusal
from csbs.workflows.run import Watcher


@dataclass(eq=False)
class UnknownFormat(Invalid):
    """Not a format of image files that an export can write."""

    format: str

    template = "{0.format} is no format of exports: use qcow2 or raw"


class ImageFormat(StrEnum):
    """Formats of image files."""

    QCOW2 = "qcow2"
    RAW = "raw"


@dataclass(eq=False)
class ExportExists(Refused):
    """A file that an export would write is there already."""

    file: str

    template = "{0.file} is there already: choose another folder. Nothing was written"


@dataclass(eq=False)
class ExportBusy(Conflict):
    """Another export writes the same files."""

    folder: str
    doing: str

    template = "another csbs exports to {0.folder}: {0.doing}"


@dataclass(eq=False)
class DiskNotInBackup(NotFound):
    """A disk was named that the backup does not have."""

    disk: str
    backup: str
    disks: tuple[str, ...]

    @property
    def _disks(self) -> str:
        return ", ".join(self.disks) or "none"

    template = "backup {0.backup} has no disk {0.disk}; it has {0._disks}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What a caller asks for; without `disk` all of them, and the server's definition."""

    backup: str
    output: Path
    format: ImageFormat
    #: Target or id.
    disk: str | None = None
    #: None: what the settings say.
    limit_bytes_per_s: int | None = None
    #: Zeroes where the backup is damaged, instead of no export.
    allow_holes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedDisk:
    """One image file."""

    disk: DiskBackup
    path: Path
    written_bytes: int
    #: Where the backup is damaged and zeroes stand: (offset, size) in bytes, ascending.
    holes: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDone:
    """What was written."""

    backup: Backup
    format: ImageFormat
    disks: tuple[ExportedDisk, ...]
    #: None where single disks were asked for: a server lacks more than that.
    definition: Path | None
    note: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportService:
    """What a caller may ask for about exports."""

    driver: ComputeDriver
    backups: BackupService
    repositories: RepositoryAccess
    writing: RestoreOptions
    #: What an export may move a second, unless it is told otherwise; None: no limit.
    limit_bytes_per_s: int | None

    def export(self, request: ExportRequest, watcher: Watcher) -> ExportDone:
        """Writes the files, and returns which; needs nothing of the server's host but QEMU's tools.

        All files get their names when all are durable; a failure leaves none.  Raises
        `BackupNotFound`, `BackupNotRestorable`, `BackupDamaged` unless holes are allowed,
        `DiskNotInBackup`, `ExportExists`, `ExportBusy`, and what reading the backup or writing the
        files raises.
        """
        backup = self.backups.find(request.backup)
        require_restorable(backup)
        disks = _chosen(backup, request.disk)
        stem = backup.server_name.replace(os.sep, "_")
        folder = _made(request.output)
        lock = FileLock(folder / f".{stem}.lock", lambda doing: ExportBusy(str(folder), doing))
        doing = f"export of backup {backup.name}"
        with (
            lock.exclusive(doing),
            self.repositories.shared(doing) as repository,
            _folder_errors(folder),
            _Files(folder, stem, lock.path) as files,
        ):
            images = [
                files.image(f"{disk.target} of backup {backup.name}", disk.target, request.format)
                for disk in disks
            ]
            definition = files.text(".xml") if request.disk is None else None
            note = files.text(".txt")
            manifest = repository.manifest(backup.manifest_key)
            losses = [_on_loss(backup, disk, allow_holes=request.allow_holes) for disk in disks]
            readers = [
                _reader(repository, manifest, disk, on_loss)
                for disk, on_loss in zip(disks, losses, strict=True)
            ]
            written = self._write(
                list(zip(images, readers, strict=True)), request.limit_bytes_per_s, watcher
            )
            done = ExportDone(
                backup=backup,
                format=request.format,
                disks=tuple(
                    ExportedDisk(
                        disk=disk,
                        path=files.final(image.path),
                        written_bytes=size_bytes,
                        holes=on_loss.ranges() if isinstance(on_loss, Holes) else (),
                    )
                    for disk, image, size_bytes, on_loss in zip(
                        disks, images, written, losses, strict=True
                    )
                ),
                definition=None if definition is None else files.final(definition),
                note=files.final(note),
            )
            if definition is not None:
                _write_text(definition, self._definition(manifest, done))
            _write_text(note, export_note(done))
            files.name_all()
        return done

    def _write(
        self,
        images: Sequence[tuple[NewImage, ImageReader]],
        limit_bytes_per_s: int | None,
        watcher: Watcher,
    ) -> list[int]:
        """What was written of each."""
        limit = limit_bytes_per_s or self.limit_bytes_per_s
        options = replace(self.writing, rate_limit=None if limit is None else RateLimit(limit))
        total_bytes = sum(reader.image.nonzero_blocks for _, reader in images) * BLOCK_SIZE
        written: list[int] = []

        def report(progress: Progress) -> None:
            done_bytes = sum(written) + progress.done_bytes
            watcher.on_progress(Progress("writing", done_bytes, total_bytes))

        for image, reader in images:
            done = export_disk(
                image, reader, options, progress=report, cancelled=watcher.cancel.is_set
            )
            written.append(done.written_bytes)
        return written

    def _definition(self, manifest: Manifest, done: ExportDone) -> str:
        images = {each.disk.target: each.path for each in done.disks}
        xml: str = manifest.facts["server"]["definition_xml"]
        return self.driver.definition_with(xml, images, image_format=done.format)


class _Files:
    """Files of one export, which get their names together; what did not is removed."""

    def __init__(self, folder: Path, stem: str, lock: Path) -> None:
        """`lock` is removed with what is left."""
        self._folder = folder
        self._stem = stem
        self._lock = lock
        self._images: list[NewImage] = []
        self._texts: list[Path] = []

    def image(self, disk: str, target: str, image_format: ImageFormat) -> NewImage:
        """An image file that is not there yet.  Raises `ExportExists`."""
        path = self._partial(f"-{target}.{image_format}")
        image = NewImage(disk=disk, path=path, format=image_format)
        image.remove()  # of an export that was killed: we hold the lock
        self._images.append(image)
        return image

    def text(self, suffix: str) -> Path:
        """Another file that is not there yet.  Raises `ExportExists`."""
        self._texts.append(self._partial(suffix))
        return self._texts[-1]

    def final(self, partial: Path) -> Path:
        """The name that it gets."""
        return partial.with_name(partial.name.removesuffix(".partial"))

    def name_all(self) -> None:
        """Gives all files their names, durably; the definition comes last."""
        for path in (*(image.path for image in self._images), *reversed(self._texts)):
            path.rename(self.final(path))
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for image in self._images:
            image.remove()
        for path in self._texts:
            path.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)

    def _partial(self, suffix: str) -> Path:
        path = self._folder / f"{self._stem}{suffix}"
        if path.exists():
            raise ExportExists(str(path))
        return path.with_name(f"{path.name}.partial")


def image_format_of(text: str) -> ImageFormat:
    """The format of this name.  Raises `UnknownFormat`."""
    try:
        return ImageFormat(text)
    except ValueError:
        raise UnknownFormat(text) from None


def _chosen(backup: Backup, wanted: str | None) -> list[DiskBackup]:
    found = [each for each in backup.disks if wanted in {None, each.target, each.disk_id}]
    if wanted is not None and not found:
        raise DiskNotInBackup(wanted, backup.name, tuple(each.target for each in backup.disks))
    return found


def _on_loss(backup: Backup, disk: DiskBackup, *, allow_holes: bool) -> Holes | Refusal:
    return Holes(disk.size_bytes) if allow_holes else Refusal(backup, disk.target)


def _reader(
    repository: Repository, manifest: Manifest, disk: DiskBackup, on_loss: OnLoss
) -> ImageReader:
    image = manifest.image(disk.disk_id)
    assert image is not None, "the catalog has disks of the manifest only"
    return repository.reader(image, on_loss)


@contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise folder_error(folder, error) from error


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise folder_error(folder, error) from error
    return folder.absolute()


def _write_text(path: Path, text: str) -> None:
    """A definition may hold passwords."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

"""A repository in memory, and copies of one disk into it and out of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from csbs.agent.backup_disk import Copying, CopyOptions, CopyResult, DiskCopy, back_up_disk
from csbs.agent.restore_disk import RestoreOptions, RestoreResult, Restoring, restore_disk
from csbs.agent.restore_plan import DiskTarget
from csbs.blockio.qemu_nbd import NbdImage, QemuNbd, start_qemu_nbd
from csbs.domain.clock import new_id, utc_now
from csbs.domain.task import Progress
from csbs.repository import ContentIndex, Image, ImageReader, Repository
from csbs.repository.objectstore import MemoryStore, ObjectStore

DISK = "vda of server web1"
_numbers = count()


@dataclass
class Engine:
    """Backs up and restores disks; `cancel` cancels, `reports` are what was told."""

    repository: Repository
    index: ContentIndex
    copying: CopyOptions = field(default_factory=CopyOptions)
    writing: RestoreOptions = field(default_factory=RestoreOptions)
    cancel: threading.Event = field(default_factory=threading.Event)
    reports: list[Progress] = field(default_factory=list)
    #: Called with each report.
    on_report: Callable[[Progress], None] = field(default=lambda _: None)

    def back_up(
        self,
        uri: str,
        size_bytes: int,
        *,
        parent: Image | None = None,
        dirty_context: str | None = None,
    ) -> CopyResult:
        """One committed backup of one disk."""
        writer = self.repository.begin(new_id(), started_at=utc_now(), index=self.index)
        with self.copying.pool() as pool:
            result = back_up_disk(
                DiskCopy(disk=DISK, uri=uri, size_bytes=size_bytes, dirty_context=dirty_context),
                writer.image("disk", size_bytes, parent=parent),
                Copying(options=self.copying, pool=pool),
                progress=self._report,
                cancelled=self.cancel.is_set,
            )
        writer.commit(created_at=utc_now(), facts={})
        return result

    def restore(self, image: Image, uri: str, *, fresh: bool = False) -> RestoreResult:
        """Writes the image over the disk, of which nothing is known unless it is `fresh`."""
        with self.writing.pool() as pool:
            return restore_disk(
                DiskTarget(disk=DISK, uri=uri, image_size_bytes=image.size_bytes, fresh=fresh),
                self.reader(image),
                Restoring(options=self.writing, pool=pool),
                progress=self._report,
                cancelled=self.cancel.is_set,
            )

    def reader(self, image: Image) -> ImageReader:
        """Reader of the image."""
        return self.repository.reader(image)

    def content(self, image: Image) -> bytes:
        """All bytes of the image, by the repository's reader."""
        return self.reader(image).read(0, image.size_bytes)

    def _report(self, progress: Progress) -> None:
        self.reports.append(progress)
        self.on_report(progress)


@contextmanager
def open_engine(folder: Path, store: ObjectStore | None = None) -> Iterator[Engine]:
    """A new repository, in memory unless a store is given."""
    repository = Repository.open(
        store or MemoryStore(), name="test", catalog_id=new_id(), clock=utc_now, new_id=new_id
    )
    index = ContentIndex(folder / "index.sqlite")
    try:
        yield Engine(repository, index)
    finally:
        index.close()


def serve(
    path: Path, image_format: str, *, read_only: bool = True, bitmap: str | None = None
) -> QemuNbd:
    """The image over qemu-nbd, on a socket beside it."""
    image = NbdImage(
        path=str(path), format=image_format, export="vda", read_only=read_only, bitmap=bitmap
    )
    return start_qemu_nbd(image, socket=path.with_name(f"{next(_numbers)}.sock"), pid_file=None)


def leftovers() -> list[str]:
    """Threads and connections that a copy should have ended."""
    ours = ("copy-piece", "run-ahead", "nbd-watch")
    threads = [each.name for each in threading.enumerate() if each.name.startswith(ours)]
    return threads + sockets()


def sockets() -> list[str]:
    """Sockets of this process."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists them is gone again
            found.append(str(descriptor.readlink()))
    return sorted(link for link in found if link.startswith("socket:"))

"""Exporting one disk of a backup: a new image file with its bytes, written as a restore writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csbs.agent.restore_disk import RestoreOptions, RestoreResult, Restoring, restore_disk
from csbs.agent.restore_plan import DiskTarget
from csbs.blockio.processes import ProcessRecord, end_process
from csbs.blockio.qemu_img import create_image
from csbs.blockio.qemu_nbd import NbdImage, start_qemu_nbd
from csbs.domain.task import Progress
from csbs.repository import ImageReader

_PROGRAM = "qemu-nbd"
#: A killed export left it; it flushes and closes an image that nobody wants.
_END_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """An image file that is to be made."""

    #: Name for errors, such as "vda of server web1".
    disk: str
    path: Path
    #: ``qcow2`` or ``raw``.
    format: str

    @property
    def record(self) -> Path:
        """Where the process that writes it is recorded, while it runs."""
        return self.path.with_name(self.path.name + ".pid")

    def remove(self) -> None:
        """Removes what a dead export left; nobody may be at work on it.  Raises `ToolFailed`."""
        record = ProcessRecord.read(self.record, program=_PROGRAM)
        if record is not None:
            end_process(record, timeout_s=_END_TIMEOUT_S)
        for path in (self.record, self.path):
            with suppress(FileNotFoundError):
                path.unlink()


def export_disk(
    image: NewImage,
    reader: ImageReader,
    options: RestoreOptions,
    *,
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> RestoreResult:
    """Makes the file, sparse, with the bytes of the backup; durable when it returns.

    The file must not exist.  After a failure something is left of it: `NewImage.remove`.  Raises
    what `restore_disk` raises, and `ToolFailed`.
    """
    size_bytes = reader.image.size_bytes
    create_image(image.path, image_format=image.format, size_bytes=size_bytes)
    image.path.chmod(0o600)  # as libvirt leaves images
    served = NbdImage(
        path=str(image.path),
        format=image.format,
        export="disk",
        read_only=False,
        low_priority=options.low_priority,
    )
    # Sockets have short names, wherever the file is.
    with tempfile.TemporaryDirectory(prefix="csbs-export-") as folder:
        socket = Path(folder) / "nbd.sock"
        with (
            options.pool() as pool,
            start_qemu_nbd(served, socket=socket, pid_file=image.record) as nbd,
        ):
            target = DiskTarget(
                disk=image.disk, uri=nbd.uri, image_size_bytes=size_bytes, fresh=True
            )
            writing = Restoring(options=options, pool=pool)
            done = restore_disk(target, reader, writing, progress=progress, cancelled=cancelled)
    descriptor = os.open(image.path, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # what closing the image wrote
    finally:
        os.close(descriptor)
    return done

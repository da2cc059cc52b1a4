"""Disks of a stopped server, open for writing.

qemu-nbd has a session of its own and outlives a killed csbs, so the images stay locked and the
server cannot start half restored.  A body that fails leaves them locked as well: its disks are
half written.  Of a raw image qemu-nbd refuses servers only; as long as csbs lives, it refuses
other tools too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from csbs.blockio.image_lock import nobody_else_writes, nobody_writes
from csbs.blockio.qemu_img import create_image
from csbs.blockio.qemu_nbd import NbdImage, QemuNbd, start_qemu_nbd
from csbs.compute.base import DiskToWrite, WritableDisk
from csbs.compute.libvirt.folders import QemuUser
from csbs.domain.errors import CsbsError, DriverFailed, ToolFailed
from csbs.domain.server import ServerRef

log = logging.getLogger(__name__)

_IMAGE_MODE = 0o600
_RAW = "raw"


@contextmanager
def open_for_restore(
    server: ServerRef,
    disks: Sequence[DiskToWrite],
    *,
    qemu: QemuUser,
    files: Path,
    low_priority: bool = False,
) -> Iterator[Mapping[str, WritableDisk]]:
    """See `ComputeDriver.open_for_restore`; the server must be stopped.

    The names of sockets and records of processes begin with `files`.  Each `since` must have been
    looked at; one that qemu-nbd refuses all the same is not used.  Raises `DriverFailed`
    naming the disk: before the body if an image cannot be made or opened (then all are let go,
    and new ones removed), after it if one was not closed well.
    """
    with ExitStack() as locks, ExitStack() as opening:
        nbd: dict[str, QemuNbd] = {}
        opened: dict[str, WritableDisk] = {}
        for each in disks:
            if each.create_size_bytes is not None:
                path = _make(server, each, each.create_size_bytes, qemu)
                opening.callback(path.unlink, missing_ok=True)
            served, opened[each.disk.target] = _open(server, each, files, low_priority=low_priority)
            nbd[each.disk.target] = opening.enter_context(served)
            _lock_raw(locks, server, each)
        opening.pop_all()
        try:
            yield opened
        except BaseException:
            for left in nbd.values():
                left.leave_running()
            raise
        _close_all(server, nbd)


def _lock_raw(locks: ExitStack, server: ServerRef, each: DiskToWrite) -> None:
    """Keeps others from writing to a raw image that is open now."""
    if each.disk.format == _RAW:
        try:
            locks.enter_context(nobody_else_writes(_path(server, each)))
        except ToolFailed as error:
            raise DriverFailed(server.name, each.disk.target, "opening", error.why) from error


def _close_all(server: ServerRef, nbd: Mapping[str, QemuNbd]) -> None:
    failed: CsbsError | None = None
    for target, each in nbd.items():
        try:
            each.stop()
        except ToolFailed as error:
            failed = failed or DriverFailed(server.name, target, "closing", error.why)
    if failed is not None:
        raise failed


def _make(server: ServerRef, each: DiskToWrite, size_bytes: int, qemu: QemuUser) -> Path:
    path = _path(server, each)
    try:
        create_image(path, image_format=each.disk.format, size_bytes=size_bytes)
    except ToolFailed as error:
        raise DriverFailed(server.name, each.disk.target, "making the image", error.why) from error
    try:
        # As libvirt leaves images of a stopped server, or as QEMU needs them where libvirt is
        # set up not to change owners.
        path.chmod(_IMAGE_MODE)
        os.chown(path, qemu.uid, qemu.gid)
    except OSError as error:
        path.unlink(missing_ok=True)  # an empty disk that nobody asked for
        why = error.strerror or str(error)
        raise DriverFailed(server.name, each.disk.target, "making the image", why) from error
    return path


def _open(
    server: ServerRef, each: DiskToWrite, files: Path, *, low_priority: bool
) -> tuple[QemuNbd, WritableDisk]:
    if each.since is not None:
        try:
            nbd = _serve(server, each, files, low_priority=low_priority)
        except DriverFailed as error:  # perhaps QEMU ended badly a moment ago
            log.warning("tracking was refused", extra={"disk": each.disk.target, "why": str(error)})
        else:
            context = f"qemu:dirty-bitmap:{each.since}"
            return nbd, WritableDisk(uri=nbd.uri, dirty_context=context)
    nbd = _serve(server, replace(each, since=None), files, low_priority=low_priority)
    return nbd, WritableDisk(uri=nbd.uri, dirty_context=None)


def _serve(server: ServerRef, each: DiskToWrite, files: Path, *, low_priority: bool) -> QemuNbd:
    target = each.disk.target
    image = NbdImage(
        path=str(_path(server, each)),
        format=each.disk.format,
        export=target,
        read_only=False,
        bitmap=each.since,
        low_priority=low_priority,
    )
    try:
        if each.disk.format == _RAW:
            with nobody_writes(_path(server, each)):
                pass  # qemu-nbd would not ask
        return start_qemu_nbd(
            image,
            socket=files.with_name(f"{files.name}-{target}.sock"),
            pid_file=files.with_name(f"{files.name}-{target}.pid"),
        )
    except ToolFailed as error:
        raise DriverFailed(server.name, target, "opening", error.why) from error


def _path(server: ServerRef, each: DiskToWrite) -> Path:
    if each.disk.source is None:
        raise DriverFailed(
            server.name, each.disk.target, "opening", "its image is not a local file or device"
        )
    return Path(each.disk.source)

"""Ending what a dead csbs left at a server."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from csbs.blockio.processes import ProcessRecord, end_process
from csbs.compute.libvirt import thaw_debt
from csbs.compute.libvirt.live_job import LiveParts, end_backup_job, running_job_socket
from csbs.domain.errors import DriverFailed, ToolFailed
from csbs.domain.ids import ServerId

log = logging.getLogger(__name__)

_PROGRAM = "qemu-nbd"
#: A writer flushes and closes its image; killed, it would leave the bitmaps in use.
_END_TIMEOUT_S = 60.0


def clean_up(parts: LiveParts, server_id: ServerId) -> list[str]:
    """See `ComputeDriver.clean_up`."""
    files = parts.folders.leftovers(server_id)
    done = [
        *_thaw(parts, server_id),
        *_end_job(parts, server_id),
        *end_recorded(server_id, files),
    ]
    leftovers = [
        path
        for path in parts.folders.leftovers(server_id)
        if not path.is_dir() and path.name != thaw_debt.FILE_NAME  # gone when it is paid
    ]
    for path in leftovers:
        path.unlink(missing_ok=True)
    if leftovers:
        done.append(f"removed {len(leftovers)} leftover files (sockets, scratch files, records)")
    return done


def _thaw(parts: LiveParts, server_id: ServerId) -> list[str]:
    """At once: who holds the server's lock knows that nobody else is about to thaw."""
    file = thaw_debt.debt_file(parts.folders, server_id)
    if not file.exists():
        return []
    why = thaw_debt.pay_thaw(parts.connection, file, server_id)
    if why is not None:  # it stays on record, and is tried again
        log.warning("a guest may still be frozen", extra={"server": server_id, "why": why})
        return []
    return ["thawed the guest's file systems, which csbs had left frozen"]


def _end_job(parts: LiveParts, server_id: ServerId) -> list[str]:
    """A job is ours if its socket is in our folder; foreign ones are left alone."""
    socket = running_job_socket(parts.connection, server_id)
    if socket is None or not socket.startswith(f"{parts.folders.run_of(server_id)}/"):
        return []
    end_backup_job(parts, server_id)
    return ["ended a backup job that csbs had left running"]


def end_recorded(server_id: ServerId, files: Iterable[Path]) -> list[str]:
    """Ends each qemu-nbd whose record is among `files`, and says which those were.

    Raises `DriverFailed` for one that does not end.
    """
    done = []
    for path in files:
        if path.suffix != ".pid":
            continue
        record = ProcessRecord.read(path, program=_PROGRAM)
        try:
            if record is not None and end_process(record, timeout_s=_END_TIMEOUT_S):
                done.append(f"ended qemu-nbd (process {record.pid}), which held an image")
        except ToolFailed as error:
            raise DriverFailed(server_id, "", "ending qemu-nbd", error.why) from error
    return done

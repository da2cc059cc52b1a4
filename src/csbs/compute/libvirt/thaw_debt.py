"""What is owed to a guest whose file systems were asked to freeze: a thaw.

The debt is on record before the request to freeze.  It ends when the agent says that nothing was
left to thaw, or when the run of QEMU that it names is over.  The record lies in the run folder:
what empties that folder, a start of the host, ends QEMU too.

    <run of QEMU (libvirt's domain id)> <when it is late (the host's monotonic clock, seconds)>
"""

from __future__ import annotations

import os
from pathlib import Path

from csbs.compute.libvirt.agent import GuestAgent
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.folders import HostFolders
from csbs.domain.errors import CsbsError, GuestAgentFailed, ServerNotFound, folder_error
from csbs.domain.ids import ServerId

FILE_NAME = "thaw-debt"
_THAW_TIMEOUT_S = 5.0
#: One thaws, the next finds nothing left.
_THAW_TRIES = 3
_NOT_RUNNING = -1


def debt_file(folders: HostFolders, server_id: ServerId) -> Path:
    """Where the debt of a server is on record."""
    return folders.run_of(server_id) / FILE_NAME


def owe_thaw(connection: Connection, file: Path, server_id: ServerId, *, late_s: float) -> None:
    """Records that the server is owed a thaw; after `late_s` others than the debtor pay it.

    Raises `FolderDenied` or `FolderUnusable` if that cannot be written, and what libvirt raises.
    """
    run_id = connection.on_domain(server_id, "looking at its run", lambda domain: domain.ID())
    try:
        with file.open("w", encoding="ascii") as out:
            out.write(f"{run_id} {late_s:.3f}\n")
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise folder_error(file.parent, error) from error


def pay_late_thaw(
    connection: Connection, file: Path, server_id: ServerId, *, now_s: float
) -> str | None:
    """Like `pay_thaw`, unless somebody still has the time to thaw by himself."""
    debt = _read(file)
    if debt is None or now_s < debt[1]:
        return None
    return pay_thaw(connection, file, server_id)


def pay_thaw(connection: Connection, file: Path, server_id: ServerId) -> str | None:
    """Thaws what is owed; None if nothing is owed any more, else why it still is."""
    debt = _read(file)
    if debt is None:
        return None
    try:
        run_id = connection.on_domain(server_id, "looking at its run", lambda domain: domain.ID())
    except ServerNotFound:
        run_id = _NOT_RUNNING
    except CsbsError as error:
        return str(error)
    if run_id != _NOT_RUNNING and debt[0] in {run_id, None}:
        try:
            _thaw_all(GuestAgent(connection=connection, server_id=server_id))
        except GuestAgentFailed as error:
            return str(error)
    if _read(file) == debt:  # else a new freeze has begun meanwhile, and owes its own
        file.unlink(missing_ok=True)
    return None


def _read(file: Path) -> tuple[int | None, float] | None:
    """Run and time of the debt, if there is one; one that was written half is owed to any run."""
    try:
        run_id, late_s = file.read_text(encoding="ascii").split()
        return int(run_id), float(late_s)
    except FileNotFoundError:
        return None
    except ValueError:
        return None, 0.0


def _thaw_all(agent: GuestAgent) -> None:
    """Only an answer of zero shows that nothing is frozen.  Raises `GuestAgentFailed`."""
    for _ in range(_THAW_TRIES):
        if agent.ask("guest-fsfreeze-thaw", timeout_s=_THAW_TIMEOUT_S) == 0:
            return
    raise GuestAgentFailed(agent.server_id, "something in the guest freezes it again and again")

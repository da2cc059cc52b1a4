"""What is owed to a guest whose file systems were asked to freeze: a thaw.

The debt is on record before the request to freeze.  It ends when the agent says that nothing was
left to thaw, or when the QEMU that it names is gone.  The record lies in the run folder: what
empties that folder, a start of the host, ends QEMU too.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from csbs.compute.libvirt.agent import GuestAgent
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.folders import HostFolders
from csbs.domain.errors import CsbsError, GuestAgentFailed, ServerNotFound
from csbs.domain.ids import ServerId

FILE_NAME = "thaw-debt"
_THAW_TIMEOUT_S = 5.0
#: One thaws, the next finds nothing left.
_THAW_TRIES = 3


def debt_file(folders: HostFolders, server_id: ServerId) -> Path:
    """Where the debt of a server is on record."""
    return folders.run_of(server_id) / FILE_NAME


def owe_thaw(connection: Connection, file: Path, server_id: ServerId) -> None:
    """Records that the server is owed a thaw, with the run of QEMU that it is owed to."""
    run_id = connection.on_domain(server_id, "looking at its run", lambda domain: domain.ID())
    with file.open("w", encoding="ascii") as out:
        out.write(f"{run_id}\n")
        out.flush()
        os.fsync(out.fileno())


def pay_thaw(connection: Connection, file: Path, server_id: ServerId) -> str | None:
    """Thaws what is owed; None if nothing is owed any more, else why it still is."""
    try:
        owed_to = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    try:
        run_id = connection.on_domain(server_id, "looking at its run", lambda domain: domain.ID())
    except ServerNotFound:
        run_id = -1
    except CsbsError as error:
        return str(error)
    if owed_to in {str(run_id), ""} and run_id != -1:  # empty: written half, and still owed
        try:
            _thaw_all(GuestAgent(connection=connection, server_id=server_id))
        except GuestAgentFailed as error:
            return str(error)
    with suppress(FileNotFoundError):  # two may pay at once
        file.unlink()
    return None


def _thaw_all(agent: GuestAgent) -> None:
    """Only an answer of zero shows that nothing is frozen.  Raises `GuestAgentFailed`."""
    for _ in range(_THAW_TRIES):
        if agent.ask("guest-fsfreeze-thaw", timeout_s=_THAW_TIMEOUT_S) == 0:
            return
    raise GuestAgentFailed(agent.server_id, "something in the guest freezes it again and again")

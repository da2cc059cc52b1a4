"""Folders that csbs shares with QEMU: sockets, records of processes, scratch files.

    <run folder>/<server id>/       0770 root:<QEMU's group>
    <scratch folder>/<server id>/   likewise

QEMU runs as a user of its own and makes files in both, so it must be able to enter them.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csbs.domain.errors import FolderDenied
from csbs.domain.ids import ServerId

_SERVER_MODE = 0o770
_BASE_MODE = 0o755


@dataclass(frozen=True, slots=True)
class QemuUser:
    """Whom QEMU runs as."""

    uid: int
    gid: int

    def can_enter(self, folder: Path) -> bool:
        """Whether the mode of the folder lets QEMU through (access lists are not looked at)."""
        found = folder.stat()
        if self.uid == 0:
            return True
        if found.st_uid == self.uid:
            return bool(found.st_mode & 0o100)
        if found.st_gid in self._groups():
            return bool(found.st_mode & 0o010)
        return bool(found.st_mode & 0o001)

    def _groups(self) -> set[int]:
        try:
            return {self.gid, *os.getgrouplist(pwd.getpwuid(self.uid).pw_name, self.gid)}
        except KeyError:
            return {self.gid}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFolders:
    """Both base folders, and each server's own below them."""

    run: Path
    scratch: Path

    def run_of(self, server_id: ServerId) -> Path:
        """Sockets and records of one server."""
        return self.run / server_id

    def scratch_of(self, server_id: ServerId) -> Path:
        """Scratch files of one server."""
        return self.scratch / server_id

    def prepare(self, server_id: ServerId, qemu: QemuUser, *, scratch: bool) -> None:
        """Makes the server's folder for sockets and records and, if asked, the one for scratch.

        Scratch is for jobs of running servers: a restore must not fail for want of it.

        Raises `FolderDenied` where this user may not, or QEMU could not enter.
        """
        for base in (self.run, *([self.scratch] if scratch else ())):
            try:
                base.mkdir(parents=True, exist_ok=True, mode=_BASE_MODE)
                folder = base / server_id
                folder.mkdir(exist_ok=True, mode=_SERVER_MODE)
                os.chown(folder, -1, qemu.gid)
                folder.chmod(_SERVER_MODE)  # whatever the umask made of it
            except OSError as error:
                raise FolderDenied(str(base), error.strerror or str(error)) from error
            closed = closed_to(qemu, base)
            if closed is not None:
                raise FolderDenied(
                    str(base), f"QEMU's user cannot enter {closed} (chmod o+x {closed})"
                )

    def leftovers(self, server_id: ServerId) -> Iterator[Path]:
        """Files in the server's folders."""
        for folder in (self.run_of(server_id), self.scratch_of(server_id)):
            with suppress(FileNotFoundError):
                yield from sorted(folder.iterdir())


def closed_to(qemu: QemuUser, folder: Path) -> Path | None:
    """The uppermost folder on the way that QEMU cannot enter; those that do not exist can be."""
    for each in reversed((folder, *folder.parents)):
        if each.exists() and not qemu.can_enter(each):
            return each
    return None

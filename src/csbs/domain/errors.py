"""The one tree of errors.

An error has fields, not sentences: `template` makes the sentence, the first field names the
object that it is about.  The class above it says what a caller can do (its `kind`); each edge
(command line, API) translates kinds in one table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar


class CsbsError(Exception):
    """Root of all errors that csbs raises on purpose."""

    kind: ClassVar[str] = "unexpected"
    template: ClassVar[str] = "unexpected error"

    def __str__(self) -> str:
        return self.template.format(self)

    @property
    def object_name(self) -> str:
        """What the error is about: the value of its first field, or nothing."""
        own = fields(self)  # type: ignore[arg-type]  # every concrete error is a dataclass
        return str(getattr(self, own[0].name)) if own else ""


class Invalid(CsbsError):
    """The request makes no sense as it stands: change it."""

    kind = "invalid"


class NotFound(CsbsError):
    """What was named does not exist."""

    kind = "not_found"


class Conflict(CsbsError):
    """Something else is at work on the object: try again later."""

    kind = "busy"


class Refused(CsbsError):
    """Understood, and not allowed in the present state: the sentence says why."""

    kind = "refused"


class Denied(CsbsError):
    """The caller lacks the right."""

    kind = "denied"


class Unavailable(CsbsError):
    """A part that csbs needs does not answer or has no room: mend it and try again."""

    kind = "unavailable"


class Corrupt(CsbsError):
    """Stored bytes are missing or are not what was written."""

    kind = "damaged"


class Cancelled(CsbsError):
    """Stopped because somebody asked for it."""

    kind = "cancelled"


@dataclass(eq=False)
class OperationCancelled(Cancelled):
    """The operation was stopped at the caller's wish, and cleaned up behind itself."""

    operation: str

    template = "{0.operation} was cancelled"


# --- servers ---------------------------------------------------------------------------------


@dataclass(eq=False)
class ServerNotFound(NotFound):
    """No server has this id, prefix of an id, or name."""

    server: str

    template = "there is no server {0.server!r}; `csbs server list` shows them"


@dataclass(eq=False)
class ServerAmbiguous(Invalid):
    """Several servers match; `matches` lists their ids."""

    server: str
    matches: tuple[str, ...]

    @property
    def _matches(self) -> str:
        return ", ".join(self.matches)

    template = "{0.server!r} means several servers ({0._matches}); give the id"


@dataclass(eq=False)
class ServerWithoutDisks(Refused):
    """Nothing to back up."""

    server: str

    template = "server {0.server} has no disk that can be backed up (CD-ROMs are left out)"


@dataclass(eq=False)
class DiskShared(Refused):
    """Another server may write to the disk at the same time."""

    disk: str
    server: str

    template = (
        "disk {0.disk} of server {0.server} is shared (<shareable/>): what other servers write to "
        "it cannot be kept out of a backup, nor be tracked"
    )


@dataclass(eq=False)
class ServerBusy(Conflict):
    """Another operation of csbs works on the server."""

    server: str
    doing: str

    template = "server {0.server} is busy: {0.doing}; wait until it has ended"


@dataclass(eq=False)
class ServerJobRunning(Conflict):
    """A job that is not ours (migration, another backup tool) runs on the domain."""

    server: str
    job: str

    template = "a job that csbs did not start runs on server {0.server}: {0.job}; wait for its end"


@dataclass(eq=False)
class TrackingLost(Conflict):
    """A TrackingPoint cannot be used: missing, broken or in use.  Plan a rescan instead."""

    server: str
    why: str

    template = "changes of server {0.server} are not known: {0.why}"


@dataclass(eq=False)
class ServerStopFailed(Unavailable):
    """The server is still running after the forced stop."""

    server: str
    why: str

    template = "server {0.server} could not be stopped: {0.why}"


@dataclass(eq=False)
class ServerStartFailed(Unavailable):
    """The hypervisor did not start the server."""

    server: str
    why: str

    template = "server {0.server} could not be started: {0.why}"


@dataclass(eq=False)
class ServerStateRefused(Refused):
    """The server's state does not allow the operation."""

    server: str
    state: str
    operation: str

    template = "server {0.server} is {0.state}: {0.operation} is not possible now"


@dataclass(eq=False)
class DriverFailed(Unavailable):
    """The hypervisor refused or failed; `disk` is empty where no single disk is meant."""

    server: str
    disk: str
    doing: str
    why: str

    @property
    def _where(self) -> str:
        return f"disk {self.disk} of server {self.server}" if self.disk else f"server {self.server}"

    template = "{0.doing} failed for {0._where}: {0.why}"


@dataclass(eq=False)
class GuestAgentFailed(Unavailable):
    """The agent inside a server does not do what it was asked for."""

    server: str
    why: str

    template = "{0.why}"


@dataclass(eq=False)
class ServerPoweredOff(Unavailable):
    """The server was powered off in the middle of its backup; `why` it could not go on from there.

    While `why` is empty the backup may still go on from the disks of the stopped server.
    """

    server: str
    why: str = ""

    @property
    def _no_way_on(self) -> str:
        return f" and its backup cannot go on ({self.why})" if self.why else ""

    template = (
        "server {0.server} was powered off in the middle of its backup{0._no_way_on}; "
        "back it up again"
    )


@dataclass(eq=False)
class ScratchFull(Unavailable):
    """What a server overwrites during its backup does not fit: its job was ended or never begun."""

    server: str
    scratch: str
    why: str

    template = (
        "the scratch folder {0.scratch} has too little room for a backup of server {0.server}: "
        "{0.why}; the server goes on; give the folder more space (settings scratch_dir, "
        "scratch_max_bytes, scratch_reserve_bytes), or back up at a quieter time"
    )


@dataclass(eq=False)
class HypervisorUnavailable(Unavailable):
    """libvirt does not answer at its URI."""

    uri: str
    why: str

    template = "libvirt at {0.uri} does not answer: {0.why}; is libvirtd running? (`csbs doctor`)"


@dataclass(eq=False)
class HypervisorDenied(Denied):
    """libvirt answers, and refuses this user."""

    uri: str
    why: str

    template = (
        "libvirt at {0.uri} refuses this user: {0.why}; "
        "run csbs as root or as a member of the group libvirt"
    )


@dataclass(eq=False)
class HypervisorTimeout(Unavailable):
    """A call to libvirt had no answer within its limit; it may still be carried out."""

    server: str
    call: str
    timeout_s: float

    template = "libvirt did not answer {0.call} for {0.server} within {0.timeout_s:g} s"


# --- disks and programs ----------------------------------------------------------------------


@dataclass(eq=False)
class DiskUnreadable(Unavailable):
    """Bytes of a disk could not be read or written."""

    disk: str
    doing: str
    why: str

    template = "disk {0.disk}: {0.doing} failed: {0.why}"


@dataclass(eq=False)
class ToolFailed(Unavailable):
    """A program of the host (qemu-img, qemu-nbd ...) failed, is missing, or took too long."""

    tool: str
    doing: str
    why: str

    template = "{0.tool} failed while {0.doing}: {0.why}"


@dataclass(eq=False)
class FolderUnusable(Unavailable):
    """A folder that csbs needs cannot be made or used, for another reason than rights."""

    folder: str
    why: str

    template = "the folder {0.folder} cannot be used: {0.why}"


def folder_error(folder: object, error: OSError) -> FolderDenied | FolderUnusable:
    """Ours for what the system says of a folder."""
    kind = FolderDenied if isinstance(error, PermissionError) else FolderUnusable
    return kind(str(folder), error.strerror or str(error))


@dataclass(eq=False)
class FolderDenied(Denied):
    """This user may not use a folder that csbs needs."""

    folder: str
    why: str

    template = "no right to use {0.folder}: {0.why}; run csbs as a user who may, or set another"


# --- backups, restores, tasks ----------------------------------------------------------------


@dataclass(eq=False)
class IllegalTransition(Refused):
    """The object's state does not allow the change."""

    subject: str
    state: str
    wanted: str

    template = "{0.subject} is {0.state} and cannot become {0.wanted}"


@dataclass(eq=False)
class BackupNotFound(NotFound):
    """No backup has this id, prefix of an id, or name."""

    backup: str

    template = "there is no backup {0.backup!r}; `csbs backup list` shows them"


@dataclass(eq=False)
class BackupAmbiguous(Invalid):
    """Several backups match; `matches` lists their ids."""

    backup: str
    matches: tuple[str, ...]

    @property
    def _matches(self) -> str:
        return ", ".join(self.matches)

    template = "{0.backup!r} means several backups ({0._matches}); give the id"


@dataclass(eq=False)
class BackupNotRestorable(Refused):
    """Only a backup in state `available` can be restored."""

    backup: str
    state: str
    why: str

    template = "backup {0.backup} is {0.state} and cannot be restored{0.why}"


@dataclass(eq=False)
class BackupDamaged(Corrupt):
    """A restore needs bytes that the store has lost; `disk` and `offset_bytes` say the first."""

    backup: str
    server: str
    disk: str
    offset_bytes: int
    why: str

    template = (
        "backup {0.backup} is damaged: disk {0.disk} of server {0.server} lacks bytes from "
        "{0.offset_bytes} on ({0.why}). `csbs repository verify --all` shows what is lost of which "
        "backup; --allow-holes restores the rest, with zeroes there"
    )


@dataclass(eq=False)
class BackupInUse(Refused):
    """The backup cannot be deleted now."""

    backup: str
    why: str

    template = "backup {0.backup} cannot be deleted: {0.why}"


@dataclass(eq=False)
class PlanChanged(Refused):
    """The server's disks are not those any more that the caller agreed to overwrite."""

    server: str

    template = (
        "the disks of server {0.server} have changed since you were asked: look at the plan again "
        "(--dry-run). Nothing was changed"
    )


@dataclass(eq=False)
class TaskNotFound(NotFound):
    """No task has this id or prefix of an id."""

    task: str

    template = "there is no task {0.task!r}; `csbs task list` shows them"


@dataclass(eq=False)
class DiskTooSmall(Refused):
    """A restore would cut the backup's disk off."""

    disk: str
    server: str
    size_bytes: int
    needed_bytes: int

    template = (
        "disk {0.disk} of server {0.server} has {0.size_bytes} bytes, the backup's has "
        "{0.needed_bytes}: make it as large as that, then restore again. Nothing was changed"
    )


@dataclass(eq=False)
class DiskNotWritable(Refused):
    """A restore cannot write to this disk."""

    disk: str
    server: str
    why: str

    template = "disk {0.disk} of server {0.server} cannot be restored: {0.why}. Nothing was changed"


@dataclass(eq=False)
class NothingToRestore(Refused):
    """None of the backup's disks is at the server any more, or none can be written."""

    backup: str
    server: str

    template = (
        "no disk of backup {0.backup} can be written at server {0.server}: they are not attached "
        "any more, or not as local files or devices that it may write"
    )


@dataclass(eq=False)
class RestoreUnfinished(Refused):
    """A restore was interrupted: the disks are half old and half new."""

    server: str
    backup: str

    template = (
        "a restore of server {0.server} was interrupted, its disks are half written: "
        "run `csbs restore {0.backup}` again, or restore another backup of it"
    )


@dataclass(eq=False)
class DiskHalfWritten(Refused):
    """An interrupted restore wrote to a disk that the backup to be restored now does not have."""

    disk: str
    server: str
    backup: str

    template = (
        "disk {0.disk} of server {0.server} is half written: its restore was interrupted, and this "
        "backup has no such disk. Run `csbs restore {0.backup}` first, or restore another backup "
        "that has it. Nothing was changed"
    )


@dataclass(eq=False)
class CommandFailed(Unavailable):
    """The caller's own command, run while the job was open, failed."""

    command: str
    why: str

    template = "the command {0.command!r} failed: {0.why}"


@dataclass(eq=False)
class InvalidName(Invalid):
    """Not a name that csbs takes."""

    name: str
    why: str

    template = "{0.name!r} cannot be a name: {0.why}"


@dataclass(eq=False)
class InvalidRate(Invalid):
    """Not a rate that csbs takes."""

    rate: str
    why: str

    template = "{0.rate!r} is no rate: {0.why}"


@dataclass(eq=False)
class InvalidSetting(Invalid):
    """A setting has a value that makes no sense."""

    setting: str
    why: str

    template = "setting {0.setting}: {0.why}"


@dataclass(eq=False)
class DataFolderBusy(Conflict):
    """Another process holds the data folder."""

    folder: str
    doing: str

    template = "the data folder {0.folder} is in use: {0.doing}"


@dataclass(eq=False)
class DataFolderFull(Unavailable):
    """The file system of the data folder has too little space left for a new backup's facts."""

    folder: str
    free_bytes: int
    needed_bytes: int

    template = (
        "the file system of the data folder {0.folder} is full: {0.free_bytes} bytes are free, "
        "{0.needed_bytes} must be; free some, then make the backup again"
    )


@dataclass(eq=False)
class CatalogFailed(Unavailable):
    """The catalog's database cannot be used."""

    catalog: str
    why: str

    template = "the catalog {0.catalog} cannot be used: {0.why}"


@dataclass(eq=False)
class CatalogTooNew(Refused):
    """Written by a newer csbs."""

    catalog: str
    revision: str

    template = (
        "the catalog {0.catalog} has the revision {0.revision}, which this csbs does not know: "
        "install a newer csbs. Nothing was changed"
    )


@dataclass(eq=False)
class ConfirmationNeeded(Refused):
    """The command overwrites or removes something, and nobody was there to be asked."""

    operation: str

    template = "{0.operation} needs a confirmation: repeat the command with --yes"

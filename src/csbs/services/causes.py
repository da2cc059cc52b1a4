"""Why a backup, a restore or a deletion failed, in words for the tenant whose it is.

What the catalog keeps is for the operator: it names folders, programs and settings of the host.  A
tenant reads one sentence instead, chosen by the class of the error; the full cause is in the log
and in what `csbs` on the host itself shows.
"""

from __future__ import annotations

from collections.abc import Mapping

from csbs.domain.consistency import ConsistencyNotReached
from csbs.domain.errors import (
    BackupNotFound,
    BackupNotRestorable,
    Cancelled,
    Conflict,
    Corrupt,
    CsbsError,
    DataFolderFull,
    Denied,
    DiskHalfWritten,
    DiskNotWritable,
    DiskShared,
    DiskTooSmall,
    Invalid,
    NotFound,
    NothingToRestore,
    PlanChanged,
    Refused,
    RestoreUnfinished,
    ScratchFull,
    ServerBusy,
    ServerJobRunning,
    ServerNotFound,
    ServerPoweredOff,
    ServerStartFailed,
    ServerStateRefused,
    ServerStopFailed,
    ServerWithoutDisks,
    Unavailable,
)
from csbs.domain.quota import QuotaExceeded
from csbs.domain.task_errors import class_named
from csbs.repository.errors import KeyMissing, StoreDenied, StoreFull, StoreTimeout, WrongKey
from csbs.services.execution import ServiceStopped
from csbs.services.restore_work import RestoreLeftUnfinished
from csbs.workflows.settle import ProcessDied

_STORE = "The store of backups does not answer."
_FULL = "The service has no space left for it."
_ENDED = "The service was stopped in the middle of it."

#: None: its own words name nothing but what the tenant has.
SENTENCES: Mapping[type[CsbsError], str | None] = {
    ConsistencyNotReached: None,
    ServerNotFound: "The server is not there any more.",
    ServerBusy: "The server was busy with something else.",
    ServerJobRunning: "The server was busy with a job of the hypervisor.",
    ServerStateRefused: "The state of the server did not allow it.",
    ServerWithoutDisks: "The server has no disk to back up.",
    ServerPoweredOff: "The server was powered off in the middle of it.",
    ServerStopFailed: "The server could not be stopped.",
    ServerStartFailed: "The server could not be started.",
    DiskShared: "A disk of the server is shared.",
    DiskTooSmall: "A disk of the server is smaller than the backup's.",
    DiskNotWritable: "A disk of the server cannot be written.",
    DiskHalfWritten: "A disk of the server is half restored, and the backup does not have it.",
    NothingToRestore: "No disk of the backup is attached to the server.",
    PlanChanged: "The disks of the server have changed since it was asked for.",
    RestoreUnfinished: "The server is half restored: restore it again first.",
    RestoreLeftUnfinished: (
        "The restore broke off: the server stays stopped, its disks are half written; restore it "
        "again."
    ),
    BackupNotFound: "The backup is not there any more.",
    BackupNotRestorable: "The state of the backup did not allow it.",
    QuotaExceeded: "A quota is used up.",
    ScratchFull: "The server wrote more during its backup than the service has room for.",
    DataFolderFull: _FULL,
    StoreFull: "The store of backups is full.",
    StoreTimeout: _STORE,
    StoreDenied: _STORE,
    WrongKey: "The store of backups is locked.",
    KeyMissing: "The store of backups is locked.",
    ServiceStopped: _ENDED,
    ProcessDied: _ENDED,
    # All the rest.
    Cancelled: "It was cancelled.",
    Conflict: "Something else was at work on it.",
    NotFound: "Something that it needs is not there any more.",
    Refused: "It was not possible any more.",
    Invalid: "It was not possible any more.",
    Denied: "A part of the service refused it.",
    Unavailable: "A part of the service failed.",
    Corrupt: "Data of the backup is damaged.",
    CsbsError: "Internal error.",
}


def cause(error_class: str, words: str) -> str:
    """The sentence for an error of which the class's name and the operator's words are kept.

    Empty where nothing failed.
    """
    if not error_class and not words:
        return ""
    kinds = class_named(error_class).__mro__
    told = next(SENTENCES[each] for each in kinds if each in SENTENCES)
    return f"{words[:1].upper()}{words[1:]}." if told is None else told

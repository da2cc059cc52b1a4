"""Codes of CSBS v1: each of our errors with its status, its code and its wording.

The wordings are the protocol's own and speak of its objects; what an error says on the command line
(which names commands) never goes out.  docs/reference/csbs-v1-api.md has the same table, with the
codes that are never sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter
from typing import Any

from csbs.api.csbs_v1.wire.words import TypeNotBackedUp, TypeNotRestored
from csbs.api.errors import (
    BodyTooDeep,
    BodyTooLarge,
    MethodUnknown,
    Overloaded,
    RequestInvalid,
    RequestTooSlow,
    RouteUnknown,
    entry_of,
)
from csbs.domain.consistency import ConsistencyNotReached
from csbs.domain.errors import (
    BackupInUse,
    BackupNotFound,
    BackupNotRestorable,
    Cancelled,
    Conflict,
    Corrupt,
    CsbsError,
    Denied,
    DiskHalfWritten,
    DiskNotWritable,
    DiskShared,
    DiskTooSmall,
    FolderDenied,
    HypervisorDenied,
    IllegalTransition,
    Invalid,
    InvalidName,
    NotFound,
    NothingToRestore,
    PlanChanged,
    Refused,
    RestoreUnfinished,
    ServerBusy,
    ServerJobRunning,
    ServerNotFound,
    ServerStateRefused,
    ServerWithoutDisks,
    TaskNotFound,
    Unavailable,
)
from csbs.domain.listing import MarkerUnknown
from csbs.domain.policy import (
    InvalidPolicy,
    PolicyBusy,
    PolicyNameTaken,
    PolicyNotFound,
    PolicyWithoutServers,
    ServerBound,
    TooManyPolicies,
)
from csbs.domain.quota import InvalidQuota, QuotaExceeded
from csbs.domain.recurrence import InvalidPattern
from csbs.domain.restore_plan import TargetShared
from csbs.domain.restore_targets import (
    DataToSystemDisk,
    DiskBackupForeign,
    DiskForeign,
    DiskSwapped,
    RestoreElsewhere,
    RestorePartial,
)
from csbs.domain.tags import InvalidTag, TagNotFound, TooManyTags
from csbs.domain.task_errors import class_named
from csbs.domain.tenancy import NotAuthenticated
from csbs.repository.errors import StoreDenied, WrongKey

#: What is longer came from a client.
_QUOTED_SIZE_MAX = 160


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table; the sentence has fields of the error."""

    status: int
    code: str
    sentence: str


@dataclass(eq=False)
class NotSupported(Refused):
    """A call of the protocol that this service does not carry out."""

    call: str

    template = "{0.call} is not supported"


@dataclass(eq=False)
class InstanceNotFound(NotFound):
    """A server that was looked for by its path."""

    server: str

    template = "Server ({0.server}) is not found."


_UNAVAILABLE = Entry(503, "CSBS.9999", "The service is not available now; try again.")
_INTERNAL = Entry(500, "CSBS.9999", "Internal error.")

ENTRIES: dict[type[CsbsError], Entry] = {
    # Servers and backups of them.
    ServerNotFound: Entry(400, "CSBS.6000", "Server ({0.server}) is not found."),
    InstanceNotFound: Entry(404, "CSBS.6000", "Server ({0.server}) is not found."),
    TypeNotBackedUp: Entry(
        400, "CSBS.6003", "Resources of type {0.resource_type} cannot be backed up."
    ),
    TypeNotRestored: Entry(
        400, "CSBS.6013", "Nothing can be restored to resources of type {0.resource_type}."
    ),
    ServerBound: Entry(
        400, "CSBS.6004", "Server ({0.server}) is already bound to policy ({0.policy})."
    ),
    ServerBusy: Entry(400, "CSBS.6005", "Server ({0.server}) is busy: {0.doing}."),
    ServerJobRunning: Entry(
        400, "CSBS.6005", "Server ({0.server}) is busy with a job of the hypervisor."
    ),
    ServerStateRefused: Entry(
        400, "CSBS.6005", "Server ({0.server}) is {0.state}: {0.operation} is not possible now."
    ),
    ConsistencyNotReached: Entry(
        400, "CSBS.6006", "Server ({0.server}) has no {0.asked} consistency: {0.why}."
    ),
    ServerWithoutDisks: Entry(400, "CSBS.6007", "Server ({0.server}) has no disk to back up."),
    DiskShared: Entry(400, "CSBS.6010", "Disk {0.disk} of server ({0.server}) is shared."),
    BackupNotFound: Entry(404, "CSBS.3001", "Backup ({0.backup}) is not found."),
    BackupInUse: Entry(400, "CSBS.2003", "Backup ({0.backup}) is in use: {0.why}."),
    IllegalTransition: Entry(
        400, "CSBS.2003", "{0.subject} is {0.state} and cannot become {0.wanted}."
    ),
    TaskNotFound: Entry(404, "CSBS.6040", "Task ({0.task}) is not found."),
    # Restores.
    BackupNotRestorable: Entry(
        400, "CSBS.4000", "Backup ({0.backup}) is {0.state} and cannot be restored."
    ),
    DiskForeign: Entry(400, "CSBS.6014", "Disk ({0.disk}) is not attached to server ({0.server})."),
    NothingToRestore: Entry(
        400, "CSBS.6014", "No disk of backup ({0.backup}) is attached to server ({0.server})."
    ),
    PlanChanged: Entry(
        400, "CSBS.6014", "The disks of server ({0.server}) have changed; ask again."
    ),
    RestoreUnfinished: Entry(
        400, "CSBS.6015", "Server ({0.server}) is half restored: restore it again first."
    ),
    DiskHalfWritten: Entry(
        400, "CSBS.6015", "Disk {0.disk} of server ({0.server}) is half restored."
    ),
    RestoreElsewhere: Entry(
        400,
        "CSBS.6016",
        "Backup ({0.backup}) cannot be restored to server ({0.server}): it is of another one.",
    ),
    DiskNotWritable: Entry(
        400, "CSBS.6016", "Disk {0.disk} of server ({0.server}) cannot be written."
    ),
    DiskBackupForeign: Entry(
        400, "CSBS.6017", "Disk backup ({0.disk_backup}) is not part of backup ({0.backup})."
    ),
    RestorePartial: Entry(
        400, "CSBS.6018", "Backup ({0.backup}) is restored as a whole: disk {0.disk} is missing."
    ),
    TargetShared: Entry(400, "CSBS.6021", "Disk {0.disk} of server ({0.server}) is shared."),
    DataToSystemDisk: Entry(
        500, "CSBS.6023", "A data disk cannot be restored to system disk {0.disk}."
    ),
    DiskTooSmall: Entry(
        400,
        "CSBS.6024",
        "Disk {0.disk} of server ({0.server}) has {0.size_bytes} bytes, {0.needed_bytes} are "
        "needed.",
    ),
    DiskSwapped: Entry(
        500, "CSBS.9998", "Restoring to disk {0.disk}, which is another one, is not supported."
    ),
    # Policies.
    TooManyPolicies: Entry(400, "CSBS.0001", "The project has {0.policies_max} policies already."),
    PolicyBusy: Entry(500, "CSBS.1001", "Policy ({0.policy}) is busy with a backup."),
    PolicyNotFound: Entry(404, "CSBS.3000", "Policy ({0.policy}) is not found."),
    PolicyWithoutServers: Entry(
        500, "CSBS.6032", "Policy ({0.policy}) has no server that can be backed up."
    ),
    PolicyNameTaken: Entry(400, "CSBS.9007", "The policy name {0.name} is used already."),
    QuotaExceeded: Entry(400, "CSBS.9006", "The quota of {0.resource} is used up: {0.limit}."),
    # Tags.
    TooManyTags: Entry(400, "CSBS.7000", "An object may have {0.tags_max} tags."),
    TagNotFound: Entry(404, "CSBS.7001", "There is no tag {0.key}."),
    # What a request says.
    RequestInvalid: Entry(400, "CSBS.9001", "{0.part}: {0.why}."),
    MarkerUnknown: Entry(400, "CSBS.9001", "{0}."),
    InvalidPolicy: Entry(400, "CSBS.9001", "{0.part}: {0.why}."),
    InvalidPattern: Entry(400, "CSBS.9001", "pattern: {0.why}."),
    InvalidTag: Entry(400, "CSBS.9001", "tag: {0.why}."),
    InvalidQuota: Entry(400, "CSBS.9001", "{0.resource}: {0.why}."),
    InvalidName: Entry(400, "CSBS.9001", "name: {0.why}."),
    BodyTooLarge: Entry(413, "CSBS.9001", "The body may have {0.max_bytes} bytes."),
    BodyTooDeep: Entry(400, "CSBS.9001", "The body may be {0.max_depth} levels deep."),
    RequestTooSlow: Entry(408, "CSBS.9001", "The body must come within {0.max_s:g} s."),
    RouteUnknown: Entry(404, "CSBS.9998", "There is no such call."),
    MethodUnknown: Entry(405, "CSBS.9998", "The call has other methods."),
    NotSupported: Entry(500, "CSBS.9998", "{0.call} is not supported."),
    NotAuthenticated: Entry(401, "CSBS.9009", "Authentication is required: {0.why}."),
    Denied: Entry(403, "CSBS.9009", "The caller has no right to do this."),
    # All the rest; here the service lacks something, not the caller.
    FolderDenied: _UNAVAILABLE,
    HypervisorDenied: _UNAVAILABLE,
    StoreDenied: _UNAVAILABLE,
    WrongKey: _UNAVAILABLE,
    Overloaded: _UNAVAILABLE,
    Unavailable: _UNAVAILABLE,
    Conflict: Entry(400, "CSBS.6005", "Something else is at work on it; try again."),
    Cancelled: Entry(400, "CSBS.6005", "It was cancelled."),
    NotFound: Entry(404, "CSBS.3001", "It is not found."),
    Invalid: Entry(400, "CSBS.9001", "The request makes no sense."),
    Refused: Entry(400, "CSBS.9998", "That is not possible now."),
    Corrupt: _INTERNAL,
    CsbsError: _INTERNAL,
}


def entry(error: CsbsError) -> Entry:
    """The line of an error."""
    return entry_of(ENTRIES, error)


def sentence(error: CsbsError) -> str:
    """What a client may read of it."""
    return _Short().format(entry(error).sentence, error)


class _Short(Formatter):
    """Fills a sentence, and shortens what is put into it."""

    def format_field(self, value: Any, format_spec: str) -> str:
        """See `Formatter`."""
        text = str(super().format_field(value, format_spec))
        return text if len(text) <= _QUOTED_SIZE_MAX else f"{text[:_QUOTED_SIZE_MAX]}..."


#: Names of faults in Karbor's bodies.
_FAULTS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    413: "overLimit",
    503: "serviceUnavailable",
}


def karbor_fault(status: int) -> str:
    """What Karbor calls an error of this status."""
    return _FAULTS.get(status, "karborFault")


def code_of(error_class: str) -> str:
    """The code for an error that only its class's name is known of."""
    return entry_of(ENTRIES, class_named(error_class)).code

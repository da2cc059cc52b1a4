"""What a backup is consistent with (docs/explanation/consistency.md)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from csbs.domain.errors import Refused


class Consistency(StrEnum):
    """What was asked for, or reached."""

    #: All disks at one instant: after a restore the server is as after a power cut.
    CRASH = "crash"
    #: The guest had written its file systems out, and held still in that instant.
    FILESYSTEM = "filesystem"
    #: Databases in the guest had been told too.  Nobody tells them yet, so it is never reached.
    APPLICATION = "application"


class ApplicationMode(IntEnum):
    """Whether a caller asks for `Consistency.APPLICATION`, by the numbers of the protocols."""

    NO = 0
    #: The backup fails where it is not reached.
    REQUIRED = 1
    #: Falls back to what is reached, and says why.
    PREFERRED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeEvidence:
    """What was seen of a freeze that counts."""

    file_systems: int
    #: From the request to freeze to the answer to the thaw: the guest was frozen no longer.
    frozen_ms: int
    #: How long a writer to the guest's root file system waited, by the guest's clock; None where
    #: it could not be measured.
    frozen_in_guest_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachedConsistency:
    """What a backup is consistent with, and why not with what was asked for."""

    level: Consistency
    reason: str = ""
    freeze: FreezeEvidence | None = None


#: Why `Consistency.APPLICATION` is not reached.
NO_HOOKS = "this version has no hooks that bring databases in the guest to rest"


@dataclass(eq=False)
class ConsistencyNotReached(Refused):
    """The caller wanted no backup rather than one of a lower consistency."""

    server: str
    asked: str
    why: str

    template = "server {0.server} cannot be backed up with {0.asked} consistency: {0.why}"


def crash_only(reason: str) -> ReachedConsistency:
    """Crash consistency, although more was asked for."""
    return ReachedConsistency(level=Consistency.CRASH, reason=reason)


def judge_freeze(
    evidence: FreezeEvidence, *, thawed: int, thaw_began_early: bool, budget_s: float
) -> ReachedConsistency:
    """What a freeze is worth: file systems that thawed before the disks were opened are not.

    `thawed` is how many file systems the guest agent thawed; `thaw_began_early` says that a thaw
    was tried before the hypervisor had opened the disks.
    """
    if thaw_began_early:
        return crash_only(
            f"opening the disks took longer than the file systems may be frozen ({budget_s:g} s)"
        )
    if thawed != evidence.file_systems:
        return crash_only(
            f"{evidence.file_systems} file systems were frozen, and {thawed} still were at the end"
        )
    return ReachedConsistency(level=Consistency.FILESYSTEM, freeze=evidence)

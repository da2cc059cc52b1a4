"""How much a project may have, and what it has."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.domain.errors import Invalid, Refused

#: Of servers in one policy; the same for every project.
SERVERS_PER_POLICY_MAX = 64
#: A project may have so many policies, unless an administrator says otherwise.
POLICIES_MAX_DEFAULT = 32
LIMIT_MAX = 2**53 - 1  # what JSON numbers carry without loss in every client


@dataclass(eq=False)
class QuotaExceeded(Refused):
    """The project has as much as it may have."""

    resource: str
    limit: int

    template = "the project may have {0.limit} of {0.resource}, and has them"


@dataclass(eq=False)
class InvalidQuota(Invalid):
    """Not a limit."""

    resource: str
    why: str

    template = "the quota of {0.resource} cannot be set: {0.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Limits of a project; None: no limit."""

    backups: int | None = None
    backup_bytes: int | None = None
    policies: int | None = POLICIES_MAX_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a project has that counts."""

    backups: int
    backup_bytes: int
    policies: int


def require_room_for_backups(quotas: Quotas, usage: Usage, count: int) -> None:
    """Raises `QuotaExceeded` if the project may not have so many backups more.

    How much they will take is known only afterwards, so the space must not be used up before.
    """
    if quotas.backups is not None and usage.backups + count > quotas.backups:
        raise QuotaExceeded("backups", quotas.backups)
    if quotas.backup_bytes is not None and usage.backup_bytes >= quotas.backup_bytes:
        raise QuotaExceeded("backup bytes", quotas.backup_bytes)


def checked_limit(resource: str, limit: int) -> int | None:
    """A limit as it is asked for; -1 means none.  Raises `InvalidQuota`."""
    if not -1 <= limit <= LIMIT_MAX:
        raise InvalidQuota(resource, f"use a number from 0 to {LIMIT_MAX}, or -1 for no limit")
    return None if limit == -1 else limit

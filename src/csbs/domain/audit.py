"""What is kept of a change: who, when, what, from where, with what result."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from csbs.domain.ids import ProjectId
from csbs.domain.tenancy import UserId

DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One change, or an attempt at one."""

    #: In the order of the events; 0 before the catalog gave one.
    number: int = 0
    at: datetime
    #: None where it was about no project.
    project_id: ProjectId | None
    #: Empty for a login that failed, and for commands on the machine itself.
    user_id: UserId
    user_name: str
    #: What was asked for: `create_project`, `serve`.
    action: str
    #: What it was about: a path of the API, or the words of a command.
    target: str
    #: Empty for commands on the machine itself.
    remote_address: str
    request_id: str
    #: `done`, or the kind of the error.
    result: str
    #: The sentence of the error.
    reason: str = ""

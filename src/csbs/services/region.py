"""What a service of one region offers: who may ask, and the use cases of each project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from csbs.domain.clock import Clock, NewId
from csbs.domain.ids import ProjectId
from csbs.services.access_keys import AccessKeyService
from csbs.services.assignments import AssignmentService
from csbs.services.audit import AuditService
from csbs.services.collection import CollectionWaits
from csbs.services.identity import IdentityService
from csbs.services.project_app import App
from csbs.services.projects import ProjectService
from csbs.services.rpo import RpoSummary
from csbs.services.users import UserService


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """All that the API needs, ready; may be used by any number of threads."""

    name: str
    identity: IdentityService
    users: UserService
    projects: ProjectService
    access_keys: AccessKeyService
    assignments: AssignmentService
    audit: AuditService
    collections: CollectionWaits
    #: The use cases of a project; made at the first call for it, then the same.
    project_app: Callable[[ProjectId], App]
    clock: Clock
    new_id: NewId
    #: What the last look at all servers found.
    rpo: Callable[[], RpoSummary] = RpoSummary

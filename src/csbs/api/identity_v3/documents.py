"""Objects of Keystone."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from csbs.domain.tenancy import DOMAIN_ID, DOMAIN_NAME, Project, Role, User

Document = dict[str, Any]

DOMAIN: Document = {"id": DOMAIN_ID, "name": DOMAIN_NAME}


def moment(at: datetime) -> str:
    """With a fraction and `Z`: SDKs want both."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def role_document(role: Role) -> Document:
    """A role; its id is the same in every region."""
    return {"id": hashlib.sha256(f"role {role}".encode()).hexdigest()[:32], "name": str(role)}


def domain_document() -> Document:
    """The one domain, in lists."""
    return DOMAIN | {"enabled": True, "description": ""}


def project_document(project: Project) -> Document:
    """A project, in lists."""
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": DOMAIN_ID,
        "parent_id": DOMAIN_ID,
        "is_domain": False,
        "description": "",
        "enabled": True,
    }


def user_document(user: User) -> Document:
    """A user, in lists."""
    return {
        "id": user.id,
        "name": user.name,
        "domain_id": DOMAIN_ID,
        "enabled": user.enabled,
    }

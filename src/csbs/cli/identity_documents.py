"""What `--json` shows of users, projects, keys and the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from csbs.cli.output import rfc3339
from csbs.domain.audit import AuditEvent
from csbs.domain.tenancy import AccessKey, Membership, User

Document = dict[str, Any]


def user_document(user: User, memberships: Sequence[Membership] | None = None) -> Document:
    """A user, with his roles in projects where they are given."""
    document: Document = {
        "id": user.id,
        "name": user.name,
        "enabled": user.enabled,
        "is_admin": user.is_admin,
        "created_at": rfc3339(user.created_at),
    }
    if memberships is not None:
        document["roles"] = [
            {
                "project": {"id": each.project.id, "name": each.project.name},
                "role": each.role,
            }
            for each in memberships
        ]
    return document


def key_document(key: AccessKey) -> Document:
    """An access key, without its secret."""
    return {
        "id": key.id,
        "description": key.description,
        "created_at": rfc3339(key.created_at),
    }


def event_document(event: AuditEvent) -> Document:
    """One change, or an attempt at one."""
    return {
        "number": event.number,
        "at": rfc3339(event.at),
        "project_id": event.project_id,
        "user": {"id": event.user_id, "name": event.user_name},
        "action": event.action,
        "target": event.target,
        "remote_address": event.remote_address,
        "request_id": event.request_id,
        "result": event.result,
        "reason": event.reason,
    }

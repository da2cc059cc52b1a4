"""Quotas of a project."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StrictInt

from csbs.documents.base import Body, Document, whole
from csbs.domain.quota import LIMIT_MAX, Quotas, Usage

Limit = Annotated[StrictInt, Field(ge=-1, le=LIMIT_MAX), BeforeValidator(whole)]


class QuotaChange(Body):
    """Limits to set; -1 means none, what is left out stays."""

    backups: Limit | None = None
    backup_bytes: Limit | None = None
    policies: Limit | None = None


class QuotaDocument(Document):
    """A limit, and what counts against it; without a limit it is null."""

    limit: int | None
    used: int


class QuotasDocument(Document):
    """What a project may have, and what it has."""

    backups: QuotaDocument
    backup_bytes: QuotaDocument
    policies: QuotaDocument

    @classmethod
    def of(cls, quotas: Quotas, usage: Usage) -> Self:
        """As they are."""
        return cls(
            backups=QuotaDocument(limit=quotas.backups, used=usage.backups),
            backup_bytes=QuotaDocument(limit=quotas.backup_bytes, used=usage.backup_bytes),
            policies=QuotaDocument(limit=quotas.policies, used=usage.policies),
        )

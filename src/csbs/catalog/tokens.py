"""Queries about tokens, which are kept as SHA-256 only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.identity_tables import tokens
from csbs.domain.ids import ProjectId
from csbs.domain.tenancy import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """One token, by its digest; without a project it is unscoped, or of the domain."""

    digest: str
    user_id: UserId
    project_id: ProjectId | None
    of_domain: bool
    methods: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime


def add(transaction: Transaction, token: TokenRow) -> None:
    """Enters a new token, and forgets all that have expired."""
    transaction.execute(delete(tokens).where(tokens.c.expires_at <= token.issued_at))
    transaction.execute(
        insert(tokens).values(
            digest=token.digest,
            user_id=token.user_id,
            project_id=token.project_id,
            of_domain=token.of_domain,
            methods=",".join(token.methods),
            issued_at=token.issued_at,
            expires_at=token.expires_at,
        )
    )


def by_digest(transaction: Transaction, digest: str) -> TokenRow | None:
    """The token with this digest; it may have expired."""
    row = transaction.execute(select(tokens).where(tokens.c.digest == digest)).one_or_none()
    if row is None:
        return None
    return TokenRow(
        digest=row.digest,
        user_id=UserId(row.user_id),
        project_id=None if row.project_id is None else ProjectId(row.project_id),
        of_domain=row.of_domain,
        methods=tuple(row.methods.split(",")),
        issued_at=row.issued_at,
        expires_at=row.expires_at,
    )


def revoke(transaction: Transaction, digest: str) -> None:
    """The token is none any more."""
    transaction.execute(delete(tokens).where(tokens.c.digest == digest))


def revoke_all(transaction: Transaction, user_id: UserId) -> None:
    """All tokens of the user are none any more."""
    transaction.execute(delete(tokens).where(tokens.c.user_id == user_id))

"""Queries about access keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.identity_tables import access_keys, used_signatures
from csbs.domain.tenancy import AccessKey, AccessKeyId, UserId


def add(transaction: Transaction, key: AccessKey, sealed_secret: bytes) -> None:
    """Enters a new key."""
    transaction.execute(
        insert(access_keys).values(
            id=key.id,
            user_id=key.user_id,
            description=key.description,
            sealed_secret=sealed_secret,
            created_at=key.created_at,
        )
    )


def of_user(transaction: Transaction, user_id: UserId) -> list[AccessKey]:
    """The user's keys, oldest first."""
    rows = transaction.execute(
        select(access_keys)
        .where(access_keys.c.user_id == user_id)
        .order_by(access_keys.c.created_at, access_keys.c.id)
    ).all()
    return [_key(row) for row in rows]


def by_id(transaction: Transaction, key_id: AccessKeyId) -> tuple[AccessKey, bytes] | None:
    """The key and its sealed secret."""
    row = transaction.execute(select(access_keys).where(access_keys.c.id == key_id)).one_or_none()
    return None if row is None else (_key(row), row.sealed_secret)


def remove(transaction: Transaction, key_id: AccessKeyId) -> None:
    """The key opens nothing any more."""
    transaction.execute(delete(access_keys).where(access_keys.c.id == key_id))


def use_signature(
    transaction: Transaction, digest: str, *, now: datetime, expires_at: datetime
) -> bool:
    """Records that a signature was used; False if it was before.  Forgets those that expired."""
    transaction.execute(delete(used_signatures).where(used_signatures.c.expires_at <= now))
    known = transaction.execute(
        select(used_signatures.c.digest).where(used_signatures.c.digest == digest)
    ).first()
    if known is not None:
        return False
    transaction.execute(insert(used_signatures).values(digest=digest, expires_at=expires_at))
    return True


def _key(row: Row[Any]) -> AccessKey:
    return AccessKey(
        id=AccessKeyId(row.id),
        user_id=UserId(row.user_id),
        description=row.description,
        created_at=row.created_at,
    )

"""Queries about users and their roles in projects.

They are of the whole region: who may log in is asked before there is a project.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select, update

from csbs.catalog.catalog import Transaction
from csbs.catalog.identity_tables import access_keys, memberships, tokens, users
from csbs.catalog.listing import page_by_name
from csbs.catalog.tables import projects
from csbs.domain.ids import ProjectId
from csbs.domain.listing import Slice
from csbs.domain.tenancy import Membership, Project, Role, User, UserId


def add(transaction: Transaction, user: User, password_hash: str) -> None:
    """Enters a new user."""
    transaction.execute(
        insert(users).values(
            id=user.id,
            name=user.name,
            password_hash=password_hash,
            enabled=user.enabled,
            is_admin=user.is_admin,
            created_at=user.created_at,
        )
    )


def everyone(transaction: Transaction) -> list[User]:
    """All users, by name."""
    return [_user(row) for row in transaction.execute(select(users).order_by(users.c.name))]


def page(transaction: Transaction, after: str, limit: int) -> Slice[User]:
    """Users whose names come behind this one, by name."""
    found = page_by_name(transaction, select(users), users.c.name, after, limit)
    return found.map(lambda rows: [_user(row) for row in rows])


def find(transaction: Transaction, wanted: str) -> User | None:
    """The user with this id, else the one with this name."""
    rows = transaction.execute(
        select(users).where(or_(users.c.id == wanted, users.c.name == wanted))
    ).all()
    by_id = [row for row in rows if row.id == wanted]
    return next((_user(row) for row in (*by_id, *rows)), None)


def by_id(transaction: Transaction, user_id: UserId) -> User | None:
    """The user with this id."""
    row = transaction.execute(select(users).where(users.c.id == user_id)).one_or_none()
    return None if row is None else _user(row)


def by_name(transaction: Transaction, name: str) -> User | None:
    """The user with this name."""
    row = transaction.execute(select(users).where(users.c.name == name)).one_or_none()
    return None if row is None else _user(row)


def password_hash(transaction: Transaction, user_id: UserId) -> str:
    """What the user's password is checked against; empty for no user."""
    return transaction.scalar(select(users.c.password_hash).where(users.c.id == user_id)) or ""


def set_password_hash(transaction: Transaction, user_id: UserId, hashed: str) -> None:
    """Gives the user another password."""
    transaction.execute(update(users).where(users.c.id == user_id).values(password_hash=hashed))


def set_rights(transaction: Transaction, user_id: UserId, *, enabled: bool, is_admin: bool) -> None:
    """Whether the user may log in, and whether as an administrator."""
    transaction.execute(
        update(users).where(users.c.id == user_id).values(enabled=enabled, is_admin=is_admin)
    )


def remove(transaction: Transaction, user_id: UserId) -> None:
    """The user goes, with his tokens, keys and memberships."""
    for table in (tokens, access_keys, memberships):
        transaction.execute(delete(table).where(table.c.user_id == user_id))
    transaction.execute(delete(users).where(users.c.id == user_id))


def administrators(transaction: Transaction) -> int:
    """How many administrators may log in."""
    found = transaction.scalar(
        select(func.count()).select_from(users).where(users.c.is_admin, users.c.enabled)
    )
    return int(found or 0)


# --- memberships ------------------------------------------------------------------------------


def memberships_of(transaction: Transaction, user_id: UserId) -> list[Membership]:
    """The user's roles in projects, by the name of the project."""
    rows = transaction.execute(
        select(projects.c.id, projects.c.name, memberships.c.role)
        .join(memberships, memberships.c.project_id == projects.c.id)
        .where(memberships.c.user_id == user_id)
        .order_by(projects.c.name)
    ).all()
    return [
        Membership(project=Project(id=ProjectId(row.id), name=row.name), role=Role(row.role))
        for row in rows
    ]


def set_membership(
    transaction: Transaction, user_id: UserId, project_id: ProjectId, role: Role | None
) -> None:
    """Gives the user this role in the project instead of the one he has; None: he has none."""
    transaction.execute(
        delete(memberships).where(
            memberships.c.user_id == user_id, memberships.c.project_id == project_id
        )
    )
    if role is not None:
        transaction.execute(
            insert(memberships).values(user_id=user_id, project_id=project_id, role=role)
        )


def _user(row: Row[Any]) -> User:
    return User(
        id=UserId(row.id),
        name=row.name,
        enabled=row.enabled,
        is_admin=row.is_admin,
        created_at=row.created_at,
    )

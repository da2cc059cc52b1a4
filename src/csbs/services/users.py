"""Users: made, changed, deleted; their roles in projects."""

from __future__ import annotations

from dataclasses import dataclass, replace

from csbs.catalog import Catalog, Transaction, projects, tokens, users
from csbs.domain.clock import Clock, NewId
from csbs.domain.listing import Slice
from csbs.domain.tenancy import (
    LastAdministrator,
    Membership,
    NameTaken,
    ProjectNotFound,
    Role,
    User,
    UserId,
    UserNotFound,
    check_name,
    check_password,
)
from csbs.services.passwords import Passwords


@dataclass(frozen=True, slots=True, kw_only=True)
class UserService:
    """What an administrator may ask for; users are named by id or name.

    All that names a user raises `UserNotFound`.
    """

    catalog: Catalog
    passwords: Passwords
    clock: Clock
    new_id: NewId

    def create(self, name: str, password: str, *, is_admin: bool = False) -> User:
        """A user who may log in.  Raises `BadName`, `BadPassword`, `NameTaken`."""
        check_name("user", name)
        hashed = self.passwords.hashed(check_password(name, password))
        user = User(
            id=UserId(self.new_id().replace("-", "")),
            name=name,
            enabled=True,
            is_admin=is_admin,
            created_at=self.clock(),
        )
        with self.catalog.transaction() as transaction:
            if users.by_name(transaction, name) is not None:
                raise NameTaken(name, "user")
            users.add(transaction, user, hashed)
        return user

    def everyone(self) -> list[User]:
        """All users, by name."""
        with self.catalog.transaction() as transaction:
            return users.everyone(transaction)

    def page(self, after: str, limit: int) -> Slice[User]:
        """Users whose names come behind this one, by name."""
        with self.catalog.reading() as transaction:
            return users.page(transaction, after, limit)

    def find(self, wanted: str) -> User:
        """The user with this id or name."""
        with self.catalog.transaction() as transaction:
            return _found(transaction, wanted)

    def memberships(self, wanted: str) -> list[Membership]:
        """The user's roles in projects, by the name of the project."""
        with self.catalog.transaction() as transaction:
            return users.memberships_of(transaction, _found(transaction, wanted).id)

    def set_password(self, wanted: str, password: str) -> User:
        """Another password; all tokens of the user end.  Raises `BadPassword`."""
        user = self.find(wanted)
        hashed = self.passwords.hashed(check_password(user.name, password))
        with self.catalog.transaction() as transaction:
            users.set_password_hash(transaction, user.id, hashed)
            tokens.revoke_all(transaction, user.id)
        return user

    def set_rights(
        self, wanted: str, *, enabled: bool | None = None, is_admin: bool | None = None
    ) -> User:
        """Whether the user may log in, and as an administrator; None: as it is.

        One who may not log in loses his tokens.  Raises `LastAdministrator`.
        """
        with self.catalog.transaction() as transaction:
            user = _found(transaction, wanted)
            new = replace(
                user,
                enabled=user.enabled if enabled is None else enabled,
                is_admin=user.is_admin if is_admin is None else is_admin,
            )
            users.set_rights(transaction, user.id, enabled=new.enabled, is_admin=new.is_admin)
            _require_administrator(transaction, user)
            if not new.enabled:
                tokens.revoke_all(transaction, user.id)
        return new

    def delete(self, wanted: str) -> User:
        """The user goes, with his tokens, keys and roles.  Raises `LastAdministrator`."""
        with self.catalog.transaction() as transaction:
            user = _found(transaction, wanted)
            users.remove(transaction, user.id)
            _require_administrator(transaction, user)
        return user

    def set_role(self, wanted: str, project: str, role: Role | None) -> Membership | None:
        """The user's one role in a project; None: he has none.  Raises `ProjectNotFound`.

        `admin` is no role of a project: see `set_rights`.
        """
        assert role is not Role.ADMIN
        with self.catalog.transaction() as transaction:
            user = _found(transaction, wanted)
            found = projects.find(transaction, project)
            if found is None:
                raise ProjectNotFound(project)
            users.set_membership(transaction, user.id, found.id, role)
        return None if role is None else Membership(project=found, role=role)


def _found(transaction: Transaction, wanted: str) -> User:
    user = users.find(transaction, wanted)
    if user is None:
        raise UserNotFound(wanted)
    return user


def _require_administrator(transaction: Transaction, changed: User) -> None:
    """Rolls the change back that left nobody who could make users through the API."""
    if changed.is_admin and changed.enabled and not users.administrators(transaction):
        raise LastAdministrator(changed.name)

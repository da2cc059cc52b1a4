"""Who is it: passwords, tokens and signatures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from csbs.catalog import Catalog, Transaction, access_keys, projects, tokens, users
from csbs.catalog.tokens import TokenRow
from csbs.domain.clock import Clock, RandomBytes
from csbs.domain.ids import ProjectId
from csbs.domain.listing import Slice
from csbs.domain.signing import SentRequest, check_signature, parse_signature
from csbs.domain.tenancy import (
    NotAuthenticated,
    OtherProject,
    Project,
    Role,
    User,
    UserId,
    with_implied,
)
from csbs.repository.secret_box import SecretBox
from csbs.services.failures import FailureLimit
from csbs.services.passwords import Passwords
from csbs.services.replays import Replays

_TOKEN_BYTES = 32
_WRONG = "wrong name or password"
#: Of users; what is longer is none, and is not remembered as a whole.
_NAME_SIZE_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeAsked:
    """What a token is to be for: a project by id or name, the domain, or nothing."""

    project: str = ""
    of_domain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a token stands for."""

    user: User
    project: Project | None
    of_domain: bool
    #: In the project, implied ones too; without one those of the region.
    roles: frozenset[Role]
    methods: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    """What a token is given for."""

    user_id: UserId
    methods: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    #: Whether that is so in the transaction that enters the token.
    still_proved: Callable[[Transaction], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityService:
    """Proves who somebody is; all refusals are `NotAuthenticated`, and say no more than needed."""

    catalog: Catalog
    passwords: Passwords
    failures: FailureLimit
    replays: Replays
    secrets: SecretBox
    clock: Clock
    random_bytes: RandomBytes
    token_lifetime: timedelta

    # --- tokens ----------------------------------------------------------------------------------

    def log_in(
        self, user: str, password: str, scope: ScopeAsked, *, address: str
    ) -> tuple[str, Session]:
        """A token for the user with this id or name, and what it stands for.

        Raises `TooManyFailures`, `LoginsBusy`, and `OtherProject` for a project without a role.
        """
        found, hashed = self._proved(user, password, address)
        now = self.clock()

        def still_proved(transaction: Transaction) -> bool:
            # Checking took a while: somebody who changed the password meanwhile means to end
            # all tokens of the old one.
            return users.password_hash(transaction, found.id) == hashed

        grant = _Grant(
            user_id=found.id,
            methods=("password",),
            issued_at=now,
            expires_at=now + self.token_lifetime,
            still_proved=still_proved,
        )
        return self._issue(grant, scope)

    def check_password(self, user: User, password: str, *, address: str) -> None:
        """Raises what `log_in` raises, unless it is the user's password."""
        self._proved(user.id, password, address)

    def _proved(self, name: str, password: str, address: str) -> tuple[User, str]:
        """The user, and what his password was checked against."""
        with self.catalog.reading() as transaction:
            found = users.find(transaction, name)
            hashed = users.password_hash(transaction, found.id) if found else ""
        # Guesses at a user count together, whether he is named by id or by name.
        guessed = found.id if found else name[:_NAME_SIZE_MAX]
        self.failures.check(address, guessed)
        # Outside of the transaction: it takes long on purpose.
        if not self.passwords.matches(hashed, password) or found is None or not found.enabled:
            self.failures.failed(address, guessed)
            raise NotAuthenticated(_WRONG)
        self.failures.succeeded(address, guessed)
        return found, hashed

    def rescope(self, token: str, scope: ScopeAsked) -> tuple[str, Session]:
        """Another token of the same user; it lives no longer than the first one."""
        old = self.session(token)

        def still_good(transaction: Transaction) -> bool:
            return tokens.by_digest(transaction, _digest(token)) is not None

        grant = _Grant(
            user_id=old.user.id,
            methods=tuple(dict.fromkeys((*old.methods, "token"))),
            issued_at=self.clock(),
            expires_at=old.expires_at,
            still_proved=still_good,
        )
        return self._issue(grant, scope)

    def session(self, token: str) -> Session:
        """What the token stands for, with the roles of now."""
        with self.catalog.transaction() as transaction:
            row = tokens.by_digest(transaction, _digest(token))
            if row is None or row.expires_at <= self.clock():
                raise NotAuthenticated("the token is unknown or has expired")
            return self._session(transaction, row)

    def revoke(self, token: str) -> None:
        """The token is none any more; one that is unknown is fine."""
        with self.catalog.transaction() as transaction:
            tokens.revoke(transaction, _digest(token))

    def _issue(self, grant: _Grant, scope: ScopeAsked) -> tuple[str, Session]:
        token = self.random_bytes(_TOKEN_BYTES).hex()
        with self.catalog.transaction() as transaction:
            if not grant.still_proved(transaction):
                raise NotAuthenticated(_WRONG)
            project = projects.find(transaction, scope.project) if scope.project else None
            if scope.project and project is None:
                raise OtherProject(scope.project)
            row = TokenRow(
                digest=_digest(token),
                user_id=grant.user_id,
                project_id=project.id if project else None,
                of_domain=scope.of_domain,
                methods=grant.methods,
                issued_at=grant.issued_at,
                expires_at=grant.expires_at,
            )
            session = self._session(transaction, row)
            tokens.add(transaction, row)
        return token, session

    def _session(self, transaction: Transaction, row: TokenRow) -> Session:
        user = users.by_id(transaction, row.user_id)
        if user is None or not user.enabled:
            raise NotAuthenticated("the token is unknown or has expired")
        project = None if row.project_id is None else projects.by_id(transaction, row.project_id)
        return Session(
            user=user,
            project=project,
            of_domain=row.of_domain,
            roles=_roles(transaction, user, row.project_id),
            methods=row.methods,
            issued_at=row.issued_at,
            expires_at=row.expires_at,
        )

    # --- signatures ------------------------------------------------------------------------------

    def signer(self, request: SentRequest) -> User:
        """The user whose key signed the request."""
        signature = parse_signature(request.headers.get("authorization", ""))
        with self.catalog.transaction() as transaction:
            found = access_keys.by_id(transaction, signature.access_key)
            user = users.by_id(transaction, found[0].user_id) if found else None
        if found is None or user is None or not user.enabled:
            raise NotAuthenticated("the access key is unknown")
        key, sealed = found
        secret = self.secrets.open(sealed, purpose_of(key.id))
        check_signature(request, signature, secret, now=self.clock())
        self.replays.use(request, signature)
        return user

    # --- roles -----------------------------------------------------------------------------------

    def roles_in(self, user: User, project_id: str) -> tuple[Project, frozenset[Role]]:
        """The project, and the user's roles there, implied ones too.

        Raises `OtherProject` if there are none, or no such project.
        """
        with self.catalog.transaction() as transaction:
            project = projects.by_id(transaction, ProjectId(project_id))
            if project is None:
                raise OtherProject(project_id)
            return project, _roles(transaction, user, project.id)

    def page_of_projects(self, user: User, after: str, limit: int) -> Slice[Project]:
        """Where the user has a role, by name: those whose names come behind this one."""
        member = None if user.is_admin else user.id
        with self.catalog.reading() as transaction:
            return projects.page(transaction, member, after, limit)

    def projects_of(self, user: User) -> list[Project]:
        """Where the user has a role, by name."""
        with self.catalog.transaction() as transaction:
            if user.is_admin:
                return projects.all_of_region(transaction)
            return [each.project for each in users.memberships_of(transaction, user.id)]


def purpose_of(access_key: str) -> str:
    """What the sealed secret of an access key is for."""
    return f"the secret of access key {access_key}"


def region_roles(user: User) -> frozenset[Role]:
    """What the user may do where it is about no project."""
    return with_implied([Role.ADMIN] if user.is_admin else [])


def _roles(transaction: Transaction, user: User, project_id: ProjectId | None) -> frozenset[Role]:
    if project_id is None or user.is_admin:
        return region_roles(user)
    own = users.memberships_of(transaction, user.id)
    roles = with_implied(each.role for each in own if each.project.id == project_id)
    if not roles:
        raise OtherProject(project_id)
    return roles


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

"""What somebody with bad intentions tries on logins, tokens and keys."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from csbs.domain.tenancy import NotAuthenticated, Role, TooManyFailures
from csbs.services.failures import FailureLimit
from csbs.services.identity import IdentityService, ScopeAsked
from csbs.services.passwords import Passwords, argon2
from csbs.testing.live_api import FastHasher, LiveApi, live_api
from csbs.testing.signing import Signer, sdk_signers

PASSWORD = "a-good-password"  # noqa: S105  of users that live as long as a test
NOTHING = ScopeAsked()
JSON = {"Content-Type": "application/json"}
NUMBERS = iter(range(1, 1000))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def name(api: LiveApi) -> str:
    """A user who may read project `local`."""
    made = api.region.users.create(f"user-{next(NUMBERS)}", PASSWORD).name
    api.region.users.set_role(made, "local", Role.READER)
    return made


class Watched(FastHasher):
    """Counts what takes long, and does something in the middle of it."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.calls: list[str] = []
        self._meanwhile = meanwhile

    def hash(self, password: str) -> str:
        self.calls.append("hash")
        return super().hash(password)

    def verify(self, hash: str, password: str) -> bool:  # noqa: A002  the name in argon2
        self.calls.append("verify")
        found = super().verify(hash, password)
        self._meanwhile()
        return found


def watched(api: LiveApi, hasher: Watched) -> IdentityService:
    return replace(api.region.identity, passwords=Passwords(hasher))


def log_in(api: LiveApi, user: Any, password: Any) -> httpx.Response:
    body = {"methods": ["password"], "password": {"user": {"name": user, "password": password}}}
    content = json.dumps({"auth": {"identity": body}})  # by ASCII only, with half pairs too
    return api.client.post("/v3/auth/tokens", content=content, headers=JSON)


def signed(api: LiveApi, signer: Signer, limit: str = "1") -> httpx.Response:
    """A list of the project, whose signature differs with `limit`."""
    path = f"/native/v1/projects/{api.project_id}/backups"
    query = {"limit": limit}
    at = datetime.now(UTC)
    headers = signer.sign("GET", api.url + path, at=at, query=list(query.items()))
    return api.client.get(path, params=query, headers=headers)


# --- passwords --------------------------------------------------------------------------------


def test_passwords_are_kept_as_argon2id_with_the_parameters_of_rfc_9106() -> None:
    hashed = argon2().hash(PASSWORD)

    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert hashed != argon2().hash(PASSWORD)


def test_a_login_takes_as_long_whoever_does_not_exist_or_may_not(api: LiveApi, name: str) -> None:
    disabled = api.region.users.create(f"user-{next(NUMBERS)}", PASSWORD).name
    api.region.users.set_rights(disabled, enabled=False)
    for user in (name, disabled, "nobody"):
        hasher = Watched()
        with pytest.raises(NotAuthenticated) as refused:
            watched(api, hasher).log_in(user, "wrong", NOTHING, address="a")
        assert len(hasher.calls) == 1
        assert refused.value.why == "wrong name or password"


@pytest.mark.parametrize("field", ["user", "password"])
@pytest.mark.parametrize(
    "text",
    ["\0", "a\0b", "\ud800", "admin\u200b", "\u0430dmin", "\uff41dmin", "ADMIN", " admin"],
)
def test_odd_letters_are_nobody(api: LiveApi, field: str, text: str) -> None:
    asked = {"user": "admin", "password": "admin-password"} | {field: text}

    answer = log_in(api, **asked)

    assert answer.status_code in {400, 401}
    assert log_in(api, "admin", "admin-password").status_code == 201


@pytest.mark.parametrize("text", ["password\0word", "password\ud800word"])
def test_a_password_that_no_database_takes_is_refused(api: LiveApi, name: str, text: str) -> None:
    with api.as_user() as admin:
        content = json.dumps({"password": text})
        answer = admin.patch(f"/native/v1/users/{name}", content=content, headers=JSON)

    assert answer.status_code == 400
    assert log_in(api, name, PASSWORD).status_code == 201


# --- guessing ---------------------------------------------------------------------------------


def test_guesses_by_name_and_by_id_count_together(api: LiveApi, name: str) -> None:
    user = api.region.users.find(name)
    service = replace(api.region.identity, failures=FailureLimit(monotonic=lambda: 0, count_max=2))
    for named in (user.id, name):
        with pytest.raises(NotAuthenticated):
            service.log_in(named, "wrong", NOTHING, address="a")

    for named in (user.id, name):
        with pytest.raises(TooManyFailures):
            service.log_in(named, PASSWORD, NOTHING, address="a")
    service.log_in(name, PASSWORD, NOTHING, address="b")


def test_long_names_fill_no_memory(api: LiveApi) -> None:
    failures = FailureLimit(monotonic=lambda: 0)
    service = replace(api.region.identity, failures=failures)
    with pytest.raises(NotAuthenticated):
        service.log_in("x" * 100_000, "wrong", NOTHING, address="a")

    [(_, remembered)] = failures._failures
    assert len(remembered) == 64


# --- ends at once -----------------------------------------------------------------------------


def test_a_login_that_overlaps_a_change_of_the_password_gives_no_token(
    api: LiveApi, name: str
) -> None:
    change = Watched(lambda: api.region.users.set_password(name, "another-password"))

    with pytest.raises(NotAuthenticated):
        watched(api, change).log_in(name, PASSWORD, NOTHING, address="a")


def test_a_login_that_overlaps_disabling_gives_no_token(api: LiveApi, name: str) -> None:
    disable = Watched(lambda: api.region.users.set_rights(name, enabled=False))

    with pytest.raises(NotAuthenticated):
        watched(api, disable).log_in(name, PASSWORD, NOTHING, address="a")


def test_a_token_that_ends_meanwhile_gives_no_other(api: LiveApi, name: str) -> None:
    identity = api.region.identity
    token, _ = identity.log_in(name, PASSWORD, NOTHING, address="a")

    def ending(size: int) -> bytes:
        api.region.users.set_password(name, "another-password")
        return identity.random_bytes(size)

    with pytest.raises(NotAuthenticated):
        replace(identity, random_bytes=ending).rescope(token, NOTHING)


def test_an_administrator_who_is_none_any_more_is_none_at_once(api: LiveApi) -> None:
    user = api.region.users.create(f"user-{next(NUMBERS)}", PASSWORD, is_admin=True)
    with api.as_user(user.name, PASSWORD) as client:
        before = client.get("/native/v1/users").status_code
        api.region.users.set_rights(user.id, is_admin=False)
        after = client.get("/native/v1/users").status_code

    assert (before, after) == (200, 403)


@pytest.mark.parametrize("sdk", sorted(sdk_signers("", "")))
def test_a_key_goes_as_far_as_the_roles_of_its_user_at_that_moment(
    api: LiveApi, name: str, sdk: str
) -> None:
    user = api.region.users.find(name)
    key, secret = api.region.access_keys.create(user)
    signer = sdk_signers(key.id, secret)[sdk]
    before = signed(api, signer, "1").status_code
    api.region.users.set_role(name, "local", None)
    without_role = signed(api, signer, "2").status_code
    api.region.access_keys.delete(key.id)
    without_key = signed(api, signer, "3").status_code

    assert [before, without_role, without_key] == [200, 403, 401]


def test_no_secret_is_in_the_log(api: LiveApi, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with api.as_user(name, PASSWORD) as client:
        token = client.headers["X-Auth-Token"]
        made = client.post("/native/v1/users/me/keys", json={}).json()
        assert signed(api, sdk_signers(made["id"], made["secret"])["chnsz"]).status_code == 200
        log_in(api, name, "guessed-password")
        client.put(
            "/native/v1/users/me/password", json={"old": PASSWORD, "new": "new-good-password"}
        )
    ours = [each for each in caplog.records if not each.name.startswith(("httpx", "httpcore"))]
    said = "\n".join(f"{each.getMessage()} {each.__dict__}" for each in ours)

    assert "request answered" in said
    for secret in (token, made["secret"], PASSWORD, "guessed-password", "new-good-password"):
        assert secret not in said

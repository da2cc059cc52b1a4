"""Logging in, and using a login that was kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import httpx

from csbs.client.connection import (
    Address,
    Connection,
    Credentials,
    JsonObject,
    open_http,
    sent,
)
from csbs.client.credentials import KeyCredentials, TokenCredentials
from csbs.client.errors import NotOurService, ProjectUnknown, ToldDenied, told
from csbs.client.profiles import Profile, Profiles
from csbs.documents.identity import Health, ProjectDocument, ProjectPage, UserDetails
from csbs.domain.clock import new_id, utc_now

_CREATED = 201
_UNAUTHORIZED = 401

#: Asks a person for the password of a user at a service; None: there is nobody to ask.
AskPassword = Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """As whom: a user with a password, or an access key with its secret."""

    user: str = ""
    password: str = field(default="", repr=False)
    access_key: str = ""
    secret_key: str = field(default="", repr=False)


def log_in(name: str, address: Address, login: Login, project: str | None) -> Profile:
    """A login to be kept.

    Raises `UrlInvalid`, `PlainHttpRefused`, `ServiceUnreachable`, `ServiceNotTrusted`,
    `NotOurService`, `ProjectUnknown`, and what the service says: a wrong password is `denied`.
    """
    profile = Profile(
        name=name,
        url=address.url.rstrip("/"),
        user=login.user,
        region="",
        access_key=login.access_key,
        secret_key=login.secret_key,
        ca_file=address.ca_file,
        insecure_http=address.insecure_http,
    )
    with open_http(address) as http:
        if not login.access_key:
            profile = _with_token(http, profile, login.password)
        connection = Connection(address=address, http=http, credentials=_fixed(profile))
        health = connection.get(Health, "health")
        user = connection.get(UserDetails, "users", "me")
        found = _project(connection, project, health.region)
    return replace(
        profile,
        user=user.name,
        region=health.region,
        project_id=found.id if found else "",
        project=found.name if found else "",
    )


@contextmanager
def connected(profile: Profile, ask: AskPassword) -> Iterator[Connection]:
    """Calls as the person who logged in; a token that has ended is renewed with his password."""
    address = address_of(profile)
    with open_http(address) as http:
        yield Connection(
            address=address, http=http, credentials=_kept_credentials(http, profile, ask)
        )


def log_out(profile: Profile) -> None:
    """Ends the token, if there is one.  Raises `ServiceUnreachable` and its like."""
    if not profile.token:
        return
    headers = {"X-Auth-Token": profile.token, "X-Subject-Token": profile.token}
    with open_http(address_of(profile)) as http:
        request = http.build_request("DELETE", "/v3/auth/tokens", headers=headers)
        sent(profile.url, http, request)  # one that has ended already is fine


def address_of(profile: Profile) -> Address:
    """Where the service of a login is."""
    return Address(url=profile.url, ca_file=profile.ca_file, insecure_http=profile.insecure_http)


def projects_of(connection: Connection) -> list[ProjectDocument]:
    """All projects where the caller has a role."""
    pages = connection.all_of(ProjectPage, "projects")
    return [each for page in pages for each in page.projects]


def find_project(connection: Connection, wanted: str) -> ProjectDocument:
    """The project with this id or name, where the caller has a role.  Raises `ProjectUnknown`."""
    for each in projects_of(connection):
        if wanted in {each.id, each.name}:
            return each
    raise ProjectUnknown(wanted)


def _kept_credentials(http: httpx.Client, profile: Profile, ask: AskPassword) -> Credentials:
    def again() -> str | None:
        password = ask(profile.user, profile.url)
        if password is None:
            return None
        renewed = _with_token(http, profile, password)
        profiles = Profiles.load()
        if profile.name in profiles.by_name:
            profiles.with_login(renewed, use=False).save()
        return renewed.token

    if profile.access_key:
        return _fixed(profile)
    return TokenCredentials(token=profile.token, log_in_again=again)


def _fixed(profile: Profile) -> Credentials:
    if profile.access_key:
        return KeyCredentials(
            access_key=profile.access_key,
            secret_key=profile.secret_key,
            clock=utc_now,
            new_id=new_id,
        )
    return TokenCredentials(token=profile.token, log_in_again=lambda: None)


def _with_token(http: httpx.Client, profile: Profile, password: str) -> Profile:
    """Of no project: with it, a command may name any that the user has a role in."""
    user: JsonObject = {"name": profile.user, "domain": {"name": "Default"}, "password": password}
    identity = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": identity, "scope": "unscoped"}}
    request = http.build_request("POST", "/v3/auth/tokens", json=body)
    response = sent(profile.url, http, request)
    token = response.headers.get("X-Subject-Token", "")
    try:
        answer = response.json()
        if response.status_code == _CREATED and token:
            expires_at = str(answer["token"]["expires_at"])
            return replace(profile, token=token, token_expires_at=expires_at)
        message = str(answer["error"]["message"])
    except (ValueError, KeyError, TypeError):
        raise NotOurService(profile.url, "it has no identity service") from None
    if response.status_code == _UNAUTHORIZED:
        raise ToldDenied(profile.user, message)
    raise told(_kind(response), profile.user, message)


def _kind(response: httpx.Response) -> str:
    """Identity speaks Keystone, which has no kinds."""
    return {400: "invalid", 403: "denied", 429: "denied", 503: "unavailable"}.get(
        response.status_code, "unexpected"
    )


def _project(connection: Connection, wanted: str | None, region: str) -> ProjectDocument | None:
    """The one that was named; else the only one; else the one that is called like the region."""
    if wanted is not None:
        return find_project(connection, wanted)
    found = projects_of(connection)
    if len(found) == 1:
        return found[0]
    return next((each for each in found if each.name == region), None)

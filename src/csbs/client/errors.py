"""What can go wrong between here and a service, and what a service said that went wrong there."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.domain.errors import (
    Cancelled,
    Conflict,
    Corrupt,
    CsbsError,
    Denied,
    Invalid,
    NotFound,
    Refused,
    Unavailable,
)


@dataclass(eq=False)
class ServiceUnreachable(Unavailable):
    """Nobody answers there, or not in time."""

    url: str
    why: str

    template = "the service at {0.url} cannot be reached: {0.why}"


@dataclass(eq=False)
class ServiceNotTrusted(Unavailable):
    """Its certificate proves nothing."""

    url: str
    why: str

    template = (
        "the certificate of {0.url} is not trusted: {0.why}; `csbs login --ca-file` says who "
        "signed it"
    )


@dataclass(eq=False)
class NotOurService(Unavailable):
    """Something else answers there."""

    url: str
    why: str

    template = "what answers at {0.url} is no csbs service: {0.why}"


@dataclass(eq=False)
class ServiceTooOld(Unavailable):
    """It has no such call."""

    url: str
    call: str

    template = "the service at {0.url} is older than this csbs: it does not know {0.call}"


@dataclass(eq=False)
class AnswerUnknown(Unavailable):
    """Its answer lacks what this csbs needs."""

    url: str
    call: str
    why: str

    template = (
        "the service at {0.url} answers {0.call} in words that this csbs does not know ({0.why}): "
        "install the csbs of its version"
    )


@dataclass(eq=False)
class LoginEnded(Denied):
    """The token is none any more, and there is no password to get another one with."""

    url: str

    template = "the login to {0.url} has ended: `csbs login {0.url}` begins another"


@dataclass(eq=False)
class LoginUnknown(NotFound):
    """Nobody logged in by this name."""

    profile: str

    template = "there is no login {0.profile!r}; `csbs profile list` shows them"


@dataclass(eq=False)
class LoginNameReserved(Invalid):
    """The name means this machine."""

    profile: str

    template = "{0.profile!r} stands for this machine: choose another name"


@dataclass(eq=False)
class LoginsUnreadable(Invalid):
    """The file of logins is not what csbs wrote."""

    file: str
    why: str

    template = "{0.file} cannot be used: {0.why}; without it there are no logins"


@dataclass(eq=False)
class UrlInvalid(Invalid):
    """No service can be there."""

    url: str
    why: str

    template = "{0.url!r} is no address of a service: {0.why}"


@dataclass(eq=False)
class PlainHttpRefused(Invalid):
    """Passwords and tokens would cross the network for all to read."""

    url: str

    template = "{0.url} is not encrypted: use https, or --insecure-http if nobody can listen"


@dataclass(eq=False)
class ProjectNeeded(Invalid):
    """The login is for no project, and none was named."""

    url: str

    template = "the login to {0.url} is for no project: name one by `csbs --project`"


@dataclass(eq=False)
class ProjectUnknown(NotFound):
    """The caller has no role in such a project, or it does not exist."""

    project: str

    template = "there is no project {0.project!r}"


@dataclass(eq=False)
class WatchLost(Unavailable):
    """The service stopped answering while a task was followed."""

    url: str
    work: str
    why: str
    look: str

    template = (
        "the service at {0.url} does not answer any more ({0.why}); {0.work} goes on there, or "
        "when it is back: `{0.look}` shows it"
    )


@dataclass(eq=False)
class _Told:
    """As the service said it."""

    object: str
    message: str

    template = "{0.message}"


class ToldInvalid(_Told, Invalid):
    """See `Invalid`."""


class ToldNotFound(_Told, NotFound):
    """See `NotFound`."""


class ToldConflict(_Told, Conflict):
    """See `Conflict`."""


class ToldRefused(_Told, Refused):
    """See `Refused`."""


class ToldDenied(_Told, Denied):
    """See `Denied`."""


class ToldUnavailable(_Told, Unavailable):
    """See `Unavailable`."""


class ToldCorrupt(_Told, Corrupt):
    """See `Corrupt`."""


class ToldCancelled(_Told, Cancelled):
    """See `Cancelled`."""


class ToldUnexpected(_Told, CsbsError):
    """See `CsbsError`."""


_TOLD: dict[str, type[CsbsError]] = {
    each.kind: each
    for each in (
        ToldInvalid,
        ToldNotFound,
        ToldConflict,
        ToldRefused,
        ToldDenied,
        ToldUnavailable,
        ToldCorrupt,
        ToldCancelled,
    )
}


def told(kind: str, about: str, message: str) -> CsbsError:
    """The error that a service told of: the same kind, the same sentence."""
    return _TOLD.get(kind, ToldUnexpected)(about, message)

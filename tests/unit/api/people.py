"""Who asks in tests of our own API: a member and a reader of project `local`."""

from __future__ import annotations

from csbs.domain.tenancy import Role
from csbs.testing.live_api import LiveApi

PASSWORD = "a-good-password"  # noqa: S105  of users that live as long as a test
MEMBER, READER = "mia", "rita"


def add_people(api: LiveApi) -> None:
    """Makes them."""
    for name, role in ((MEMBER, Role.MEMBER), (READER, Role.READER)):
        api.region.users.create(name, PASSWORD)
        api.region.users.set_role(name, "local", role)


def of_project(api: LiveApi, rest: str) -> str:
    """A path of our own API, of project `local`."""
    return f"/native/v1/projects/{api.project_id}/{rest}"

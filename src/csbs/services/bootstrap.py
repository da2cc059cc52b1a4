"""The first administrator: a service that nobody can log in to is of no use."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from csbs.domain.clock import RandomBytes
from csbs.services.users import UserService

ADMIN_NAME = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAdministrator:
    """Who was made; `password` is None where the operator chose it."""

    name: str
    password: str | None


def bootstrap(
    users: UserService, password: str, random_bytes: RandomBytes
) -> FirstAdministrator | None:
    """Makes the user `admin` where there is no administrator yet; None where there is one.

    An empty `password` means a random one, which is in the answer and nowhere else.
    """
    if any(user.is_admin for user in users.everyone()):
        return None
    chosen = password or base64.b32encode(random_bytes(15)).decode().lower()
    users.create(ADMIN_NAME, chosen, is_admin=True)
    return FirstAdministrator(name=ADMIN_NAME, password=None if password else chosen)

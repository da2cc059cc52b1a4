"""Passwords: hashed by argon2, checked by few threads at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from csbs.domain.tenancy import LoginsBusy
from csbs.domain.texts import usable

#: One check takes 64 MiB and a core for a moment.
_CHECKS_MAX = 2
_WAIT_MAX_S = 10.0


class Hasher(Protocol):
    """What hashes passwords slowly."""

    def hash(self, password: str) -> str:
        """With a salt of its own."""

    def verify(self, hash: str, password: str) -> bool:  # noqa: A002  the name in argon2
        """True, or an error of argon2."""


def argon2() -> Hasher:
    """Argon2id with the parameters that RFC 9106 has for machines with little memory."""
    from argon2 import PasswordHasher  # noqa: PLC0415  a command that checks none starts faster

    return PasswordHasher()


@dataclass(frozen=True, slots=True)
class Passwords:
    """Hashes and checks; may be used by any number of threads."""

    hasher: Hasher
    checks_max: int = _CHECKS_MAX
    wait_max_s: float = _WAIT_MAX_S
    _free: threading.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Makes room for as many checks at once."""
        object.__setattr__(self, "_free", threading.Semaphore(self.checks_max))

    def hashed(self, password: str) -> str:
        """What is kept of the password.  Raises `TextUnusable`."""
        with self._turn():
            return self.hasher.hash(usable(password))

    def matches(self, hashed: str, password: str) -> bool:
        """Whether it is the password; takes as long for a user who does not exist.

        Raises `LoginsBusy` if too many others wait.
        """
        from argon2.exceptions import InvalidHashError, VerificationError  # noqa: PLC0415  see above

        with self._turn():
            if not hashed:
                self.hasher.hash(_encodable(password))
                return False
            try:
                return self.hasher.verify(hashed, _encodable(password))
            except (VerificationError, InvalidHashError):
                return False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._free.acquire(timeout=self.wait_max_s):
            raise LoginsBusy("this service")
        try:
            yield
        finally:
            self._free.release()


def _encodable(password: str) -> str:
    """The same for every password that a user can have; another wrong one for any other."""
    return password.encode(errors="backslashreplace").decode()

"""The keys of the project's repository: shown, rotated, and the recovery key handed over once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from csbs.compute.base import never
from csbs.domain.errors import NotFound
from csbs.repository import KeyFiles, KeyRing, Rotation, recovery_key_text
from csbs.services.repositories import RepositoryAccess


@dataclass(eq=False)
class RecoveryKeyShown(NotFound):
    """The recovery key was handed over before; nobody but its holder has it."""

    key_id: str

    template = (
        "recovery key {0.key_id} was shown before, and is not kept here; "
        "`csbs repository rotate-key --recovery` makes a new one, and the old one opens nothing"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyService:
    """What a caller may ask for; all raise `RepositoryNotFound` and `RepositoryNotEncrypted`."""

    repositories: RepositoryAccess
    files: KeyFiles
    #: The key ring as it is in the store; needs no key, and makes no repository.
    read_ring: Callable[[], KeyRing]

    def ring(self) -> KeyRing:
        """The key ring, for which no key is needed."""
        return self.read_ring()

    def recovery_key_waits(self, ring: KeyRing) -> bool:
        """Whether the recovery key is still on this machine, because nobody was shown it."""
        return self.files.waiting_recovery_key(ring.recovery.key_id) is not None

    def rotate(self, what: Rotation) -> KeyRing:
        """Puts a new key in the place of one; the new ring.

        Raises `RepositoryLocked` while anybody works with the repository, and what
        `Repository.rotate_key` raises.
        """
        with self.repositories.lock.exclusive("rotation of a key"):
            self.read_ring()
            return self.repositories.open_repository(never).rotate_key(what)

    def hand_over_recovery_key(self, show: Callable[[str], None]) -> None:
        """Shows the recovery key as one line, then forgets it.  Raises `RecoveryKeyShown`."""
        key_id = self.read_ring().recovery.key_id
        key = self.files.waiting_recovery_key(key_id)
        if key is None:
            raise RecoveryKeyShown(key_id)
        show(recovery_key_text(key))
        self.files.drop_recovery_key(key_id)

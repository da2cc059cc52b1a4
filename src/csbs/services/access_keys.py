"""Access keys: pairs of an id and a secret, by which programs sign requests as their user."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from csbs.catalog import Catalog, access_keys, users
from csbs.domain.clock import Clock, RandomBytes
from csbs.domain.tenancy import (
    AccessKey,
    AccessKeyId,
    AccessKeyNotFound,
    TooManyKeys,
    User,
    UserId,
    UserNotFound,
)
from csbs.repository.secret_box import SecretBox
from csbs.services.identity import purpose_of

#: Enough to change one while others are in use.
KEYS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyService:
    """What a user may ask for his own keys, and an administrator for all."""

    catalog: Catalog
    secrets: SecretBox
    clock: Clock
    random_bytes: RandomBytes

    def create(self, user: User, description: str = "") -> tuple[AccessKey, str]:
        """A new key and its secret, which is never shown again.  Raises `TooManyKeys`."""
        key = AccessKey(
            id=AccessKeyId(base64.b32encode(self.random_bytes(13)).decode()[:20]),
            user_id=user.id,
            description=description,
            created_at=self.clock(),
        )
        # 240 bits, in the 40 characters that SDKs are used to.
        secret = base64.b64encode(self.random_bytes(30), altchars=b"xy").decode()
        sealed = self.secrets.seal(secret, purpose_of(key.id))
        with self.catalog.transaction() as transaction:
            if users.by_id(transaction, user.id) is None:
                raise UserNotFound(user.name)
            if len(access_keys.of_user(transaction, user.id)) >= KEYS_MAX:
                raise TooManyKeys(user.name, KEYS_MAX)
            access_keys.add(transaction, key, sealed)
        return key, secret

    def of_user(self, user_id: UserId) -> list[AccessKey]:
        """The user's keys, oldest first."""
        with self.catalog.transaction() as transaction:
            return access_keys.of_user(transaction, user_id)

    def delete(self, key_id: str, *, owner: UserId | None = None) -> AccessKey:
        """The key opens nothing any more.

        Raises `AccessKeyNotFound`, also for one of another user than `owner`.
        """
        with self.catalog.transaction() as transaction:
            found = access_keys.by_id(transaction, AccessKeyId(key_id))
            if found is None or (owner is not None and found[0].user_id != owner):
                raise AccessKeyNotFound(key_id)
            access_keys.remove(transaction, found[0].id)
        return found[0]


def reseal(catalog: Catalog, secrets: SecretBox) -> None:
    """Seals all secrets of the region under the newest region key.

    Raises `SecretLocked` if one cannot be opened: then its key must not go.
    """
    with catalog.transaction() as transaction:
        for key_id, sealed in access_keys.sealed_secrets(transaction).items():
            if not secrets.is_newest(sealed):
                plain = secrets.open(sealed, purpose_of(key_id))
                anew = secrets.seal(plain, purpose_of(key_id))
                access_keys.set_sealed_secret(transaction, key_id, anew)

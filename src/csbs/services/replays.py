"""A signature is good once: who repeats a request that he overheard gets nothing.

SDKs send the same signed request twice within a second or so when they list things, so one that
changes nothing may be repeated for a moment.  What changes something is remembered in the
catalog, also over a restart; what only reads, in memory.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from csbs.catalog import Catalog, access_keys
from csbs.domain.clock import Clock, Monotonic
from csbs.domain.signing import SKEW_MAX, SentRequest, Signature
from csbs.domain.tenancy import NotAuthenticated

_READING = {"GET", "HEAD"}
_USED = "the signature was used before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replays:
    """Remembers signatures that were found right."""

    catalog: Catalog
    clock: Clock
    monotonic: Monotonic
    #: How long one that only reads may be repeated.
    reading_s: float = 10.0
    #: Of those in memory, the oldest are forgotten.
    remembered_max: int = 100_000
    _seen: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def use(self, request: SentRequest, signature: Signature) -> None:
        """Raises `NotAuthenticated` if the signature is not good any more."""
        if request.method in _READING:
            self._read(signature.hex_digest)
            return
        now = self.clock()
        with self.catalog.transaction() as transaction:
            # Its date may lie ahead of our clock by the skew.
            expires_at = now + 2 * SKEW_MAX
            first = access_keys.use_signature(
                transaction, signature.hex_digest, now=now, expires_at=expires_at
            )
        if not first:
            raise NotAuthenticated(_USED)

    def _read(self, digest: str) -> None:
        with self._lock:
            now_s = self.monotonic()
            first_s = self._seen.setdefault(digest, now_s)
            if now_s - first_s > self.reading_s:
                raise NotAuthenticated(_USED)
            while len(self._seen) > self.remembered_max:
                self._seen.popitem(last=False)

"""How a caller proves who he is: a token of identity, or an access key that signs each request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from csbs.client.errors import LoginEnded
from csbs.domain.clock import Clock, NewId
from csbs.domain.errors import CsbsError
from csbs.domain.signing import SentRequest, sign
from csbs.domain.tenancy import AccessKeyId


@dataclass(slots=True, kw_only=True)
class TokenCredentials:
    """A token, and who gets another one when it has ended."""

    token: str = field(repr=False)
    #: Another token; None where nobody gives the password.
    log_in_again: Callable[[], str | None]

    def sign(self, request: httpx.Request) -> None:
        """See `Credentials`."""
        request.headers["X-Auth-Token"] = self.token

    def renew(self) -> bool:
        """See `Credentials`."""
        token = self.log_in_again()
        if token is None:
            return False
        self.token = token
        return True

    def lost(self, url: str, refused: CsbsError) -> CsbsError:
        """See `Credentials`."""
        del refused
        return LoginEnded(url)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCredentials:
    """An access key with its secret."""

    access_key: str
    secret_key: str = field(repr=False)
    clock: Clock
    new_id: NewId

    def sign(self, request: httpx.Request) -> None:
        """See `Credentials`."""
        # A signature counts once; two equal requests within a second must differ in something.
        request.headers["X-Csbs-Nonce"] = self.new_id()
        raw_path, _, raw_query = request.url.raw_path.decode("ascii").partition("?")
        unsigned = SentRequest(
            method=request.method,
            raw_path=raw_path,
            raw_query=raw_query,
            headers={
                "host": request.headers["host"],
                "x-csbs-nonce": request.headers["X-Csbs-Nonce"],
            },
            body=request.read(),
        )
        key = AccessKeyId(self.access_key)
        request.headers.update(sign(unsigned, key, self.secret_key, now=self.clock()))

    def renew(self) -> bool:
        """See `Credentials`: a key is good, or it is not."""
        return False

    def lost(self, url: str, refused: CsbsError) -> CsbsError:
        """See `Credentials`: unknown, or the clock of this machine is wrong; the service says."""
        del url
        return refused

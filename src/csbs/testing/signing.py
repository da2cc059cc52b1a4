"""Signs requests as SDKs of that cloud do; written from their description, not from our verifier.

SCOPED and DIRECT are the two forms.  `signed_headers` are what a certain SDK signs.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlsplit

ALGORITHM = "SDK-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """One SDK with one key."""

    access_key: str
    secret: str
    #: Names, in any order; those that a request does not have are left out.
    signed_headers: Sequence[str]
    #: `<region>/<service>` in the scoped form; None: the direct form.
    region_and_service: str | None = None
    #: Values of headers that the SDK sends by itself.
    headers: Mapping[str, str] = field(default_factory=dict)

    def sign(
        self,
        method: str,
        url: str,
        *,
        at: datetime,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> dict[str, str]:
        """The headers of the request, with its signature."""
        date = at.strftime("%Y%m%dT%H%M%SZ")
        parts = urlsplit(url)
        headers = {name.lower(): value for name, value in self.headers.items()}
        headers |= {"host": parts.netloc, "x-sdk-date": date}
        names = sorted(name for name in self.signed_headers if name in headers)
        path = "/".join(quote(segment, safe="-._~") for segment in parts.path.split("/"))
        pairs = sorted(
            (quote(name, safe="-._~"), quote(value, safe="-._~")) for name, value in query
        )
        canonical = [method, path.rstrip("/") + "/", "&".join(f"{a}={b}" for a, b in pairs)]
        canonical += [f"{name}:{headers[name]}" for name in names]
        canonical += ["", ";".join(names), hashlib.sha256(body).hexdigest()]
        digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
        scope = self._scope(date)
        to_sign = "\n".join(filter(None, (ALGORITHM, date, scope, digest)))
        signature = hmac.new(self._key(scope), to_sign.encode(), "sha256").hexdigest()
        who = (
            f"Access={self.access_key}"
            if scope is None
            else f"Credential={self.access_key}/{scope}"
        )
        listed = ";".join(names)
        headers["authorization"] = (
            f"{ALGORITHM} {who}, SignedHeaders={listed}, Signature={signature}"
        )
        return headers

    def _scope(self, date: str) -> str | None:
        if self.region_and_service is None:
            return None
        return f"{date[:8]}/{self.region_and_service}/sdk_request"

    def _key(self, scope: str | None) -> bytes:
        if scope is None:
            return self.secret.encode()
        key = b"SDK" + self.secret.encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        return key


def sdk_signers(access_key: str, secret: str) -> dict[str, Signer]:
    """The four SDKs whose requests were seen, by name."""

    def signer(names: str, form: str | None, **headers: str) -> Signer:
        return Signer(
            access_key=access_key,
            secret=secret,
            signed_headers=names.split(";"),
            region_and_service=form,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    agent, json = "an sdk", "application/json"
    return {
        "huaweicloud-sdk-python": signer("host;x-sdk-date", "local/data-protect", accept=""),
        "golangsdk": signer(
            "accept;content-type;host;user-agent;x-sdk-date",
            "/",
            accept=json,
            content_type=json,
            user_agent=agent,
        ),
        "chnsz": signer(
            "accept;content-type;user-agent;x-sdk-date",
            None,
            accept=json,
            content_type=json,
            user_agent=agent,
        ),
        "huaweicloudsdkcore": signer(
            "content-type;host;user-agent;x-project-id;x-sdk-date",
            None,
            content_type=json,
            user_agent=agent,
            x_project_id="0" * 32,
        ),
    }

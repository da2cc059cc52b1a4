"""What a webhook is sent: our document, signed as Standard Webhooks has it.

    webhook-id: <id of the event>
    webhook-timestamp: <seconds since 1970>
    webhook-signature: v1,<base64 of HMAC-SHA256 over "id.timestamp.body">

The secret is `whsec_` and base64 of the key (https://www.standardwebhooks.com: there are libraries
that verify it in many languages).  The id is the same each time an event is sent, so who gets one
twice can tell.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime

from csbs.domain.event_text import sentence
from csbs.domain.events import Event
from csbs.domain.notification import Language

SECRET_PREFIX = "whsec_"  # noqa: S105  what all secrets begin with
KEY_SIZE = 32


def new_secret(key: bytes) -> str:
    """The secret of this key, as it is shown."""
    assert len(key) == KEY_SIZE
    return SECRET_PREFIX + base64.b64encode(key).decode()


def body_of(event: Event) -> bytes:
    """The document of an event."""
    server = event.server
    document = {
        "id": event.id,
        "kind": event.kind.value,
        "at": event.at.isoformat(),
        "project_id": event.project_id,
        "server": None if server is None else {"id": server.id, "name": server.name},
        "message": sentence(event, Language.ENGLISH),
        "facts": dict(event.facts),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def signed_headers(event_id: str, body: bytes, secret: str, at: datetime) -> dict[str, str]:
    """The three headers by which the receiver knows who sent it, and when."""
    timestamp = str(int(at.timestamp()))
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


#: The receiver is there, and wants this event neither now nor later.
_REFUSED_FOR_GOOD = frozenset({400, 409, 413, 415, 422})


def is_final(status: int) -> bool:
    """Whether an answer with this status means that sending the same again is of no use."""
    return status in _REFUSED_FOR_GOOD

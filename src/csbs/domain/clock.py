"""Time, sleep, new ids and random bytes: the only place that asks the machine for them.

All else takes them as arguments, so that tests decide what time it is.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
NewId = Callable[[], str]
Monotonic = Callable[[], float]
Sleep = Callable[[float], None]
RandomBytes = Callable[[int], bytes]


def utc_now() -> datetime:
    """The present instant, with the zone UTC, in whole microseconds."""
    return datetime.now(UTC)


def new_id() -> str:
    """A random UUID in its usual form."""
    return str(uuid.uuid4())


monotonic: Monotonic = time.monotonic
sleep: Sleep = time.sleep

#: For keys, salts and nonces: what nobody can guess.
random_bytes: RandomBytes = os.urandom

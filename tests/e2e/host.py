"""Looking at the host from tests on a real guest."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from csbs.domain.clock import monotonic, sleep
from csbs.testing.libvirt_daemon import URI

WAIT_S = 60.0
_POLL_INTERVAL_S = 0.1


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Waits until it is so; fails if it is not within `WAIT_S`."""
    end = monotonic() + WAIT_S
    while not condition():
        assert monotonic() < end, f"not within {WAIT_S:g} s: {what}"
        sleep(_POLL_INTERVAL_S)


def virsh(*arguments: str) -> str:
    """What `virsh` prints."""
    done = subprocess.run(
        ["virsh", "-c", URI, *arguments], check=True, capture_output=True, text=True, timeout=WAIT_S
    )
    return done.stdout.strip()

"""A clock that goes when it is told."""

from __future__ import annotations

from datetime import datetime, timedelta

from csbs.testing.values import START


class FakeClock:
    """Begins at `START`."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """What time it is."""
        return self.now

    def advance(self, by: timedelta) -> None:
        """So much later."""
        self.now += by

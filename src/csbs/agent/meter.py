"""Counts bytes and tells of progress, not too often."""

from __future__ import annotations

from collections.abc import Callable

from csbs.domain.clock import Monotonic
from csbs.domain.task import Progress

#: People see no more than that, and a callback may draw or lock.
_REPORT_INTERVAL_S = 0.1


class Meter:
    """Progress of one copy; reports come from the thread that calls `done` and `finish`."""

    def __init__(
        self, doing: str, report: Callable[[Progress], None], *, monotonic: Monotonic
    ) -> None:
        self._doing = doing
        self._report = report
        self._monotonic = monotonic
        self._next_s = monotonic()
        self._done_bytes = 0
        self._total_bytes = 0

    @property
    def done_bytes(self) -> int:
        """All that is done."""
        return self._done_bytes

    def expect(self, size_bytes: int) -> None:
        """There is that much more to do; one thread may call this while another calls `done`."""
        self._total_bytes += size_bytes

    def done(self, size_bytes: int) -> None:
        """That much more is done."""
        self._done_bytes += size_bytes
        if self._monotonic() >= self._next_s:
            self.finish()

    def finish(self) -> None:
        """Reports now, whenever the last report was."""
        self._next_s = self._monotonic() + _REPORT_INTERVAL_S
        self._report(Progress(self._doing, self._done_bytes, self._total_bytes))

"""How fast a task goes, and how long it may still take, as a person can believe it.

    reports   x  x x   x  x                      x  done bytes at a moment
              |---- window ----|
    speed     from the first report of the window to its last, and the silence behind it as far
              as it is longer than the silences before

So a speed that is constant is told exactly however coarse the reports are, one that changes is
followed within the window, and while nothing happens the time left grows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

#: Bytes that are known, that are zero, and that are new go at very different speeds.
WINDOW_S = 8.0
#: So many reports it has at least, however far apart they are.
_REPORTS_MIN = 4
#: Before that nothing is told: a first piece says little.
EVIDENCE_S = 2.0
_EVIDENCE_REPORTS = 3
#: Reports that are closer than this count as one: so a window holds a hundred at most.
_GRAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is told of a task."""

    bytes_per_s: int
    left_s: float


class Pace:
    """Follows one task; times are seconds of one monotonic clock, and never go back."""

    def __init__(self) -> None:
        self._reports: deque[tuple[float, int]] = deque()
        self._count = 0
        self._total_bytes = 0

    def report(self, now_s: float, done_bytes: int, total_bytes: int) -> None:
        """So much is done of so much; both may grow.  Less than before is another beginning."""
        reports = self._reports
        self._total_bytes = total_bytes
        if reports and done_bytes < reports[-1][1]:
            reports.clear()
            self._count = 0
        if reports and done_bytes == reports[-1][1]:
            return
        if len(reports) > 1 and now_s - reports[-2][0] < _GRAIN_S:
            reports.pop()
        reports.append((now_s, done_bytes))
        self._count += 1
        while len(reports) > _REPORTS_MIN and reports[1][0] <= now_s - WINDOW_S:
            reports.popleft()

    def estimate(self, now_s: float) -> Estimate | None:
        """As of this moment; None while there is too little evidence."""
        if self._count < _EVIDENCE_REPORTS:
            return None
        (first_s, first_bytes), (last_s, last_bytes) = self._reports[0], self._reports[-1]
        usual_s = (last_s - first_s) / (len(self._reports) - 1)
        silence_s = max(0.0, now_s - last_s - usual_s)
        if now_s - first_s < EVIDENCE_S or last_s == first_s:
            return None
        speed = (last_bytes - first_bytes) / (last_s - first_s + silence_s)
        left_bytes = self._total_bytes - last_bytes
        return Estimate(int(speed), left_bytes / speed)

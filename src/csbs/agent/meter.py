"""Counts bytes and tells of progress, not too often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from csbs.domain.clock import Monotonic
from csbs.domain.task import Progress

#: People see no more than that, and a callback may draw or lock.
_REPORT_INTERVAL_S = 0.1


class Meter:
    """Progress of one copy; reports come from the thread that calls `tell`, `done` and `finish`."""

    def __init__(
        self, doing: str, report: Callable[[Progress], None], *, monotonic: Monotonic
    ) -> None:
        self._doing = doing
        self._report = report
        self._monotonic = monotonic
        self._next_s = monotonic()
        self._done_bytes = 0
        self._total_bytes = 0
        self._lock = threading.Lock()

    @property
    def done_bytes(self) -> int:
        """All that is done."""
        return self._done_bytes

    def expect(self, size_bytes: int) -> None:
        """There is that much more to do; one thread may call this while another calls `done`."""
        self._total_bytes += size_bytes

    def count(self, size_bytes: int) -> None:
        """That much more is done; any thread may say so."""
        with self._lock:
            self._done_bytes += size_bytes

    def tell(self) -> None:
        """Reports, unless the last report was just now."""
        if self._monotonic() >= self._next_s:
            self.finish()

    def done(self, size_bytes: int) -> None:
        """That much more is done; reports, unless the last report was just now."""
        self.count(size_bytes)
        self.tell()

    def finish(self) -> None:
        """Reports now, whenever the last report was."""
        self._next_s = self._monotonic() + _REPORT_INTERVAL_S
        self._report(Progress(self._doing, self._done_bytes, self._total_bytes))


@dataclass(slots=True)
class _Disk:
    """What is known of one disk: of copies that were given up only what they did counts."""

    given_up_bytes: int = 0
    done_bytes: int = 0
    total_bytes: int = 0
    #: Counts until the copy has looked through all of the disk.
    estimate_bytes: int = 0
    begun: bool = False
    ended: bool = False


class JobMeter:
    """Progress of a job, over all its disks; may be used by several threads.

        estimate ──► begin ──► report, report, ... ──► end
                       ▲                 │
                       └─── begun anew ◄─┘

    The share that is done goes back only where more turns out to be to do.
    """

    def __init__(self, verb: str, disks: Sequence[str], report: Callable[[Progress], None]) -> None:
        """`report` is called by one thread at a time; what another one has to tell waits."""
        self._verb = verb
        self._report = report
        self._disks = {disk: _Disk() for disk in disks}
        self._lock = threading.Lock()
        self._telling = threading.Lock()

    def estimate(self, disk: str, size_bytes: int) -> None:
        """About so much is to be done on a disk that waits for its turn."""
        with self._lock:
            if not self._disks[disk].begun:
                self._disks[disk].estimate_bytes = size_bytes

    def begin(self, disk: str) -> Callable[[Progress], None]:
        """The copy of a disk begins, perhaps anew; returns what it reports to."""
        found = self._disks[disk]
        with self._lock:
            found.given_up_bytes += found.done_bytes
            found.done_bytes = found.total_bytes = 0
            found.begun, found.ended = True, False

        def report(progress: Progress) -> None:
            with self._lock:
                found.done_bytes, found.total_bytes = progress.done_bytes, progress.total_bytes
            self._tell(wait=False)

        return report

    def end(self, disk: str) -> None:
        """The disk is copied, and its last report has come."""
        with self._lock:
            self._disks[disk].estimate_bytes = 0
        self._tell(wait=True)
        with self._lock:
            self._disks[disk].ended = True

    def _tell(self, *, wait: bool) -> None:
        """Reports; a report that is not the last of its disk is dropped if another is made."""
        if not self._telling.acquire(blocking=wait):
            return
        try:
            self._report(self._now())
        finally:
            self._telling.release()

    def _now(self) -> Progress:
        with self._lock:
            disks = self._disks.values()
            names = [name for name, disk in self._disks.items() if disk.begun and not disk.ended]
            return Progress(
                f"{self._verb} {', '.join(names)}",
                done_bytes=sum(each.given_up_bytes + each.done_bytes for each in disks),
                total_bytes=sum(
                    each.given_up_bytes + max(each.total_bytes, each.estimate_bytes)
                    for each in disks
                ),
            )

"""What a backup costs a program in the guest: how long its writes wait, without and with one.

A real Debian guest, without KVM, so all numbers are larger than on a host with KVM.  In each round
every phase has its turn, another first each time; a phase lasts until enough was written.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.arithmetic import Sample
from benchmarks.guest_writer import WRITES_PER_S, TimedWrites
from benchmarks.leftovers import bench_guest
from benchmarks.product import Product
from csbs.domain.clock import sleep
from csbs.testing.guest import GuestServer, cache_folder, ensure_image

Keep = Callable[[str, Sample], None]

LIMIT = "50MB/s"
#: In each phase: the hundredth of them is the fifth from above.
WRITES_MIN = 500
_BOOT_TIMEOUT_S = 240.0
_QUIET_S = WRITES_MIN / WRITES_PER_S + 2
_LIMITED = ("--limit", LIMIT)


def measure_guest(folder: Path, *, rounds: int, keep: Keep, settle: Callable[[], None]) -> None:
    """All phases, in each round."""
    product = Product(folder=folder / "guest")
    image = ensure_image(cache_folder(os.environ), lambda said: print(f"  {said}", flush=True))
    with bench_guest(image) as guest:
        product.start_server(guest.name)
        product.remove()
        guest.shell.wait_until_ready(timeout_s=_BOOT_TIMEOUT_S)
        writes = TimedWrites(shell=guest.shell)
        writes.begin()
        phases = _Phases(guest, product, writes)
        turns: list[tuple[str, Callable[[], Sample]]] = [
            ("guest_quiet", phases.quiet),
            ("guest_limited", lambda: phases.backups(*_LIMITED)),
            ("guest_unlimited", phases.backups),
            ("guest_filesystem", lambda: phases.backups(*_LIMITED, consistency="filesystem")),
        ]
        for number in range(rounds):
            first = number % len(turns)
            for lane, measure in turns[first:] + turns[:first]:
                keep(lane, measure())
            settle()


@dataclass(frozen=True, slots=True)
class _Phases:
    guest: GuestServer
    product: Product
    writes: TimedWrites

    def quiet(self) -> Sample:
        """Nobody asks the guest for anything meanwhile."""

        def wait() -> Sample:
            sleep(_QUIET_S)
            return Sample(seconds=_QUIET_S)

        return self._while(wait)

    def backups(self, *options: str, consistency: str = "crash") -> Sample:
        """Full backups into new repositories; the writes that fell into one of them count."""
        done = self._backup(*options, consistency=consistency)
        while len(done.waits_ms) < WRITES_MIN:
            more = self._backup(*options, consistency=consistency)
            done = replace(
                done,
                seconds=done.seconds + more.seconds,
                cpu_seconds=done.cpu_seconds + more.cpu_seconds,
                peak_pss_bytes=max(done.peak_pss_bytes, more.peak_pss_bytes),
                waits_ms=done.waits_ms + more.waits_ms,
            )
        return done

    def _backup(self, *options: str, consistency: str) -> Sample:
        name = self.guest.name
        done = self._while(
            lambda: self.product.back_up(name, *options, mode="full", consistency=consistency)[1]
        )
        self.product.untrack(name)
        self.product.remove()
        return done

    def _while(self, do: Callable[[], Sample]) -> Sample:
        first = self.writes.count()
        sample = do()
        return replace(sample, waits_ms=self.writes.waits_ms(first, self.writes.count()))

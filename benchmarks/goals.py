"""What is to be reached, and what is not measured yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of one figure."""

    limit: float
    at_least: bool

    @property
    def text(self) -> str:
        """As a table says it."""
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}"

    def holds(self, number: float) -> bool:
        """Whether it is reached."""
        return number >= self.limit if self.at_least else number <= self.limit


def _at_least(limit: float) -> Goal:
    return Goal(limit, at_least=True)


def _at_most(limit: float) -> Goal:
    return Goal(limit, at_least=False)


GOALS: Mapping[str, Goal] = {
    "full_vs_zstd": _at_least(1),
    "stored_vs_zstd": _at_most(1.1),
    "full_vs_restic": _at_least(8),
    "full_vs_borg": _at_least(2),
    "full_vs_virtnbdbackup": _at_least(2),
    "rescan_vs_read": _at_most(1.3),
    "restore_vs_ceiling": _at_least(0.85),
    "restore_vs_restic": _at_least(6),
    "restore_vs_virtnbdrestore": _at_least(2),
    "diff_restore_vs_full": _at_most(0.05),
    "increment_seconds": _at_most(3),
    "increment_stored_ratio": _at_most(1.1),
    "nochange_seconds": _at_most(1),
    "nochange_bytes": _at_most(65_536),
    "audit_seconds": _at_most(0.3),
    "stored_vs_restic": _at_most(1.25),
    "peak_rss_mib": _at_most(400),
    "collect_seconds": _at_most(10),
    "collect_peak_mib": _at_most(200),
}

NOT_MEASURED: Mapping[str, str] = {
    "guest_p99_ratio": "a lane with a writer in a guest and `--limit` is not there yet",
}

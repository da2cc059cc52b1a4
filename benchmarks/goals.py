"""What is to be reached."""

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
    "encrypted_vs_plain": _at_least(0.9),
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
    "guest_p99_ratio": _at_most(2),
    "collect_seconds": _at_most(10),
    "collect_peak_mib": _at_most(200),
    "schedule_seconds": _at_most(60),
    "schedule_begun_seconds": _at_most(60),
    "schedule_idle_share": _at_most(0.05),
    "expiry_seconds": _at_most(0.1),
}

#: What the JSON has after a whole run, and a reader counts on.
OWED = (
    *("machine", "date", "source_path", "spread"),
    *("full_vs_zstd", "stored_vs_zstd", "full_vs_restic", "full_vs_borg"),
    *("full_vs_virtnbdbackup", "full_vs_qemu_img", "encrypted_vs_plain"),
    *("rescan_vs_read", "rescan_vs_full"),
    *("restore_vs_ceiling", "restore_vs_restic", "restore_vs_virtnbdrestore"),
    *("full_s3_vs_folder", "rescan_s3_vs_folder", "restore_s3_vs_folder"),
    *("diff_restore_vs_full", "increment_seconds", "increment_stored_ratio"),
    *("increment_4k_seconds", "increment_4k_stored_ratio", "nochange_seconds", "nochange_bytes"),
    *("nochange_live_seconds", "audit_seconds", "stored_vs_restic", "peak_rss_mib"),
    *("guest_p99_ratio", "collect_seconds", "collect_peak_mib"),
    *("schedule_seconds", "schedule_begun_seconds", "schedule_idle_share", "expiry_seconds"),
)

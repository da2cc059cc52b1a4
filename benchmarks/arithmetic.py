"""From samples to figures: medians, spread, ratios.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run of one lane; what a lane has no such number of is 0."""

    #: 0 where only sizes are of interest.
    seconds: float = 0.0
    #: User and system time of all processes that the lane started.
    cpu_seconds: float = 0.0
    #: What lies in its store afterwards.
    stored_bytes: int = 0
    #: Proportional set size of its processes, the highest that was seen.
    peak_pss_bytes: int = 0
    #: How long each write of a program in the guest took meanwhile, in milliseconds.
    waits_ms: tuple[float, ...] = ()


#: Samples by lane, in the order of rounds.
Lanes = Mapping[str, Sequence[Sample]]
Number = Callable[[Sample], float]


def seconds(sample: Sample) -> float:
    """How long it took."""
    return sample.seconds


def cpu_seconds(sample: Sample) -> float:
    """Processor time."""
    return sample.cpu_seconds


def stored_bytes(sample: Sample) -> float:
    """What it stored."""
    return sample.stored_bytes


def p99_ms(sample: Sample) -> float:
    """What 99 of 100 writes did not exceed; 0 where there was no writer."""
    return percentile(sample.waits_ms, 99)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that so many percent of them do not exceed; 0 of none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]


def middle(samples: Sequence[Sample], number: Number = seconds) -> float:
    """The median."""
    return median(number(sample) for sample in samples)


def spread(samples: Sequence[Sample], number: Number = seconds) -> float:
    """Largest less smallest, by the median."""
    numbers = [number(sample) for sample in samples]
    return (max(numbers) - min(numbers)) / median(numbers)


def timed(lanes: Lanes) -> dict[str, Sequence[Sample]]:
    """The lanes whose time is a result; how long somebody wrote in a guest is none."""
    return {
        name: samples
        for name, samples in lanes.items()
        if samples and middle(samples) and not samples[0].waits_ms
    }


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of one lane by that of another."""

    upper: str
    lower: str
    number: Number = seconds

    def of(self, lanes: Lanes) -> float | None:
        """The ratio; None if a lane was not measured, or has no such number."""
        upper, lower = lanes.get(self.upper), lanes.get(self.lower)
        if not upper or not lower or not middle(lower, self.number):
            return None
        return middle(upper, self.number) / middle(lower, self.number)

    def by_round(self, lanes: Lanes) -> list[float]:
        """The ratio in each round that has both: neighbours in time, so noise shows less."""
        pairs = zip(lanes.get(self.upper, ()), lanes.get(self.lower, ()), strict=False)
        return [self.number(upper) / self.number(lower) for upper, lower in pairs]


def speed(ours: str, theirs: str) -> Ratio:
    """Our throughput by theirs; both lanes move the same bytes, so times tell it."""
    return Ratio(theirs, ours)


#: Each figure that is a ratio, by its key in RESULTS.json.
RATIOS: dict[str, Ratio] = {
    "full_vs_zstd": speed("full", "zstd"),
    "stored_vs_zstd": Ratio("full", "zstd", stored_bytes),
    "full_vs_restic": speed("full", "restic"),
    "full_vs_borg": speed("full", "borg"),
    "full_vs_virtnbdbackup": speed("full_live", "virtnbdbackup"),
    "full_vs_qemu_img": speed("full", "qemu_img"),
    "encrypted_vs_plain": speed("encrypted_full", "full"),
    "rescan_vs_read": Ratio("rescan", "read"),
    "rescan_vs_full": Ratio("rescan", "full"),
    "restore_vs_restic": speed("restore", "restic_restore"),
    "restore_vs_virtnbdrestore": speed("restore", "virtnbdrestore"),
    "diff_restore_vs_full": Ratio("diff_restore", "restore"),
    "full_s3_vs_folder": speed("full_s3", "full"),
    "rescan_s3_vs_folder": speed("rescan_s3", "rescan"),
    "restore_s3_vs_folder": speed("restore_s3", "restore"),
    "stored_vs_restic": Ratio("full", "restic", stored_bytes),
    "guest_p99_ratio": Ratio("guest_limited", "guest_quiet", p99_ms),
    "guest_p99_ratio_unlimited": Ratio("guest_unlimited", "guest_quiet", p99_ms),
    "guest_p99_ratio_filesystem": Ratio("guest_filesystem", "guest_quiet", p99_ms),
    "increment_stored_ratio": Ratio("increment", "increment_zstd", stored_bytes),
    "increment_4k_stored_ratio": Ratio("increment_4k", "increment_4k_written", stored_bytes),
}

#: Each figure that is a median of seconds, and its lane.
TIMES: Mapping[str, str] = {
    "increment_seconds": "increment",
    "increment_4k_seconds": "increment_4k",
    "nochange_seconds": "nochange",
    "nochange_live_seconds": "nochange_live",
    "audit_seconds": "audit",
    "collect_seconds": "collect",
    "schedule_seconds": "schedule",
    "schedule_begun_seconds": "schedule_begun",
    "expiry_seconds": "expiry",
}

#: Lanes of csbs as a process of its own: their memory counts.
OURS = (
    *("full", "encrypted_full", "full_live", "rescan", "restore", "change", "diff_restore"),
    *("nochange_live", "full_s3", "rescan_s3", "restore_s3"),
    *("guest_limited", "guest_unlimited", "guest_filesystem"),
    *("many_disks_full", "many_disks_rescan", "many_disks_restore"),
    *("huge_disk_full", "huge_disk_rescan", "huge_disk_increment"),
)
#: The lanes whose noise tells how quiet the machine was.
QUIET = ("zstd", "full", "read", "rescan", "restore")
_MIB = 1024**2


#: Work that nobody can do without, as lanes whose processor time is added up: a backup that only
#: reads through qemu-nbd and compresses, a restore that only decompresses and writes through it.
WORK: Mapping[str, tuple[str, ...]] = {
    "backup": ("stage_qemu_nbd_read", "stage_compress"),
    "restore": ("zstd_decompress", "nbdcopy_write"),
}

#: Each peer's lane, by the figure that says how many times as fast that work would be on all cores.
CEILINGS: Mapping[str, tuple[str, str]] = {
    "ceiling_vs_restic": ("backup", "restic"),
    "ceiling_vs_borg": ("backup", "borg"),
    "ceiling_vs_virtnbdbackup": ("backup", "virtnbdbackup"),
    "ceiling_restore_vs_restic": ("restore", "restic_restore"),
    "ceiling_restore_vs_virtnbdrestore": ("restore", "virtnbdrestore"),
}


def work_s(lanes: Lanes, work: str) -> float | None:
    """Processor time of that work and of nothing else."""
    parts = [lanes.get(lane) for lane in WORK[work]]
    return sum(middle(part, cpu_seconds) for part in parts if part) if all(parts) else None


def by_ceiling(lanes: Lanes, work: str, lane: str, cores: int) -> float | None:
    """A lane's time by that of a machine that only does this work, on all cores."""
    seconds_of_work, samples = work_s(lanes, work), lanes.get(lane)
    if not seconds_of_work or not samples:
        return None
    return middle(samples) * cores / seconds_of_work


def restore_vs_ceiling(lanes: Lanes, cores: int) -> float | None:
    """Our restore's speed by that of a machine that only decompresses and writes, on all cores."""
    slower = by_ceiling(lanes, "restore", "restore", cores)
    return 1 / slower if slower else None


def peak_lane(lanes: Lanes) -> str | None:
    """The lane of csbs that needed the most memory."""
    ours = [name for name in OURS if lanes.get(name)]
    return max(ours, key=lambda name: _peak_bytes(lanes[name]), default=None)


def _peak_bytes(samples: Sequence[Sample]) -> int:
    return max(sample.peak_pss_bytes for sample in samples)


def figures(lanes: Lanes, *, cores: int) -> dict[str, float]:
    """Every figure whose lanes were measured, by its key."""
    found = {key: ratio.of(lanes) for key, ratio in RATIOS.items()}
    found["restore_vs_ceiling"] = restore_vs_ceiling(lanes, cores)
    for key, (work, lane) in CEILINGS.items():
        found[key] = by_ceiling(lanes, work, lane, cores)
    for key, lane in TIMES.items():
        found[key] = middle(lanes[lane]) if lanes.get(lane) else None
    if lanes.get("nochange"):
        found["nochange_bytes"] = middle(lanes["nochange"], stored_bytes)
    if (highest := peak_lane(lanes)) is not None:
        found["peak_rss_mib"] = _peak_bytes(lanes[highest]) / _MIB
    if lanes.get("collect"):
        found["collect_peak_mib"] = max(each.peak_pss_bytes for each in lanes["collect"]) / _MIB
    if lanes.get("schedule_idle"):
        idle = lanes["schedule_idle"]
        found["schedule_idle_share"] = middle(idle, cpu_seconds) / middle(idle)
    noise = [spread(lanes[name]) for name in QUIET if lanes.get(name)]
    if noise:
        found["spread"] = max(noise)
    return {key: round(number, 3) for key, number in found.items() if number is not None}

"""What bounds each figure, from the same run: processor time by stage, and words for a goal missed.

Pure.  A stage was measured alone in one thread; a command uses several at once, so what is left as
"other" also has what they cost each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from benchmarks.arithmetic import (
    Lanes,
    cpu_seconds,
    figures,
    middle,
    p99_ms,
    peak_lane,
    percentile,
    seconds,
    work_s,
)

#: Of each command: its stages, by lane, and what a reader calls them.
STAGES: Mapping[str, Mapping[str, str]] = {
    "full": {
        "start": "start of the command, imports, libvirt",
        "stage_qemu_nbd_read": "qemu-nbd, reading",
        "stage_read": "reading over NBD",
        "stage_zero_test": "test for zeroes",
        "stage_digest": "BLAKE3 of each block",
        "stage_compress": "zstd -1 of each block",
        "stage_put": "packs: put together, checked, written, synced",
    },
    "rescan": {
        "start": "start of the command, imports, libvirt",
        "stage_qemu_nbd_read": "qemu-nbd, reading",
        "stage_read": "reading over NBD",
        "stage_zero_test": "test for zeroes",
        "stage_digest": "BLAKE3 of each block",
    },
    "restore": {
        "start": "start of the command, imports, libvirt",
        "stage_get": "reading packs",
        "stage_decompress": "decompressing",
        "stage_digest_again": "BLAKE3 of each block",
        "stage_write": "writing over NBD",
        "stage_qemu_nbd_write": "qemu-nbd, writing",
    },
}


def stage_table(lanes: Lanes, lane: str) -> list[tuple[str, float]]:
    """(stage, seconds of processor time) of a command; other, and all of it.  Empty if unknown."""
    stages = STAGES[lane]
    if not lanes.get(lane) or not all(lanes.get(each) for each in stages):
        return []
    rows = [(words, middle(lanes[each], cpu_seconds)) for each, words in stages.items()]
    whole = middle(lanes[lane], cpu_seconds)
    other = whole - sum(number for _, number in rows)
    return [*rows, ("other: maps, index, threads, memory", other), ("all of the command", whole)]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Medians of a run.  Raises `KeyError` for a lane that was not measured."""

    lanes: Lanes
    cores: int

    def wall(self, lane: str) -> float:
        return middle(self.lanes[lane], seconds)

    def cpu(self, lane: str) -> float:
        return middle(self.lanes[lane], cpu_seconds)

    def work(self, lane: str, name: str = "") -> str:
        """A lane's processor time, and in which time."""
        name = name or lane
        return f"{name} takes {self.cpu(lane):.1f} s of processor time in {self.wall(lane):.1f} s"

    def figure(self, key: str) -> float:
        return figures(self.lanes, cores=self.cores)[key]


def _full_vs_zstd(seen: _Seen) -> str:
    return (
        f"{seen.work('full', 'csbs')}, {seen.cpu('stage_compress'):.1f} s of it for zstd -1; "
        f"{seen.work('zstd', 'the baseline')}, its qemu-nbd "
        f"({seen.cpu('stage_qemu_nbd_read'):.1f} s) not counted. The start of the command is "
        f"{seen.wall('start'):.1f} s of ours"
    )


def _full_vs(peer: str, ours: str) -> Callable[[_Seen], str]:
    def told(seen: _Seen) -> str:
        ceiling = seen.figure(f"ceiling_vs_{peer}")
        return (
            "a machine that does nothing but read through qemu-nbd and compress by `zstd -1`, on "
            f"all cores, would be {ceiling:.1f} times as fast as {peer}. {seen.work(peer)}, "
            f"{seen.work(ours, 'csbs')}: by processor time alone "
            f"{seen.cpu(peer) / seen.cpu(ours):.1f} times"
        )

    return told


def _encrypted(seen: _Seen) -> str:
    more_s = seen.cpu("encrypted_full") - seen.cpu("full")
    encrypted = seen.work("encrypted_full", "the encrypted backup")
    return f"{encrypted}, {seen.work('full', 'the plain one')}: {more_s:.1f} s of it more"


def _rescan(seen: _Seen) -> str:
    stages = dict(stage_table(seen.lanes, "rescan"))
    digest, read = stages["BLAKE3 of each block"], seen.cpu("read")
    server = seen.cpu("stage_qemu_nbd_read")
    return (
        f"{seen.wall('start'):.1f} s of {seen.wall('rescan'):.1f} s is the start of the command, "
        f"and nbdcopy needs {seen.wall('read'):.1f} s in all: without that fixed cost "
        f"{(seen.wall('rescan') - seen.wall('start')) / seen.wall('read'):.2f}. "
        f"{seen.work('rescan', 'csbs')}, {digest:.1f} s of it for BLAKE3; nbdcopy with a qemu-nbd "
        f"takes {read + server:.1f} s"
    )


def _restore_ceiling(seen: _Seen) -> str:
    work = work_s(seen.lanes, "restore") or 0.0
    return (
        f"decompressing and writing alone take {work:.1f} s of processor time, "
        f"{seen.work('restore', 'csbs')}: by processor time alone "
        f"{work / seen.cpu('restore'):.2f} of the ceiling. It kept "
        f"{seen.cpu('restore') / seen.wall('restore'):.1f} of {seen.cores} processors busy"
    )


def _restore_vs(figure: str, peer: str) -> Callable[[_Seen], str]:
    def told(seen: _Seen) -> str:
        return (
            "a machine that does nothing but decompress and write, on all cores, would be "
            f"{seen.figure(figure):.1f} times as fast. "
            f"{seen.work(peer)}, {seen.work('restore', 'csbs')}"
        )

    return told


def _diff_restore(seen: _Seen) -> str:
    return (
        f"{seen.work('diff_restore', 'csbs')}; the start of the command alone takes "
        f"{seen.wall('start'):.1f} s, and on this disk the goal is "
        f"{0.05 * seen.wall('restore'):.1f} s"
    )


def _guest(seen: _Seen) -> str:
    waits = {
        name: median(percentile(sample.waits_ms, 50) for sample in seen.lanes[f"guest_{name}"])
        for name in ("quiet", "limited")
    }
    quiet, limited = (middle(seen.lanes[f"guest_{each}"], p99_ms) for each in waits)
    return (
        f"the median of a write rises from {waits['quiet']:.1f} to {waits['limited']:.1f} ms, its "
        f"p99 from {quiet:.1f} to {limited:.1f} ms. Without KVM the guest's processors are "
        f"threads of QEMU, which share {seen.cores} cores with the backup "
        f"({seen.cpu('guest_limited'):.1f} s of processor time in "
        f"{seen.wall('guest_limited'):.1f} s), and each write is the first to its block, so that "
        "the old bytes are kept before it"
    )


def _begun(seen: _Seen) -> str:
    return (
        f"{seen.work('schedule_begun', '`schedule_begun`')}, in one process, whose threads take "
        "turns: a task of which nothing is to be done costs so much for what the catalog and the "
        "durable runner record of it, in five transactions"
    )


def _alone(lane: str) -> Callable[[_Seen], str]:
    return lambda seen: seen.work(lane, f"`{lane}`")


_WORDS: Mapping[str, Callable[[_Seen], str]] = {
    "full_vs_zstd": _full_vs_zstd,
    "full_vs_restic": _full_vs("restic", "full"),
    "full_vs_borg": _full_vs("borg", "full"),
    "full_vs_virtnbdbackup": _full_vs("virtnbdbackup", "full_live"),
    "encrypted_vs_plain": _encrypted,
    "rescan_vs_read": _rescan,
    "restore_vs_ceiling": _restore_ceiling,
    "restore_vs_restic": _restore_vs("ceiling_restore_vs_restic", "restic_restore"),
    "restore_vs_virtnbdrestore": _restore_vs("ceiling_restore_vs_virtnbdrestore", "virtnbdrestore"),
    "diff_restore_vs_full": _diff_restore,
    "increment_seconds": _alone("increment"),
    "nochange_seconds": _alone("nochange"),
    "audit_seconds": _alone("audit"),
    "guest_p99_ratio": _guest,
    "collect_seconds": _alone("collect"),
    "schedule_seconds": _alone("schedule"),
    "schedule_begun_seconds": _begun,
    "schedule_idle_share": _alone("schedule_idle"),
    "expiry_seconds": _alone("expiry"),
    "collect_peak_mib": lambda _: "nodes that are read together, and the marks of packs",
    "peak_rss_mib": lambda seen: f"the most was needed by `{peak_lane(seen.lanes)}`",
}


def bounds(lanes: Lanes, missed: list[str], *, cores: int) -> Iterator[tuple[str, str]]:
    """(figure, what bounds it) for each goal that was missed, as far as lanes can tell."""
    seen = _Seen(lanes, cores)
    for key in missed:
        try:
            yield key, _WORDS[key](seen)
        except KeyError:
            yield key, "no lane of this run tells"

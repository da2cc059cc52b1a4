"""RESULTS.md for people and RESULTS.json for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.arithmetic import (
    RATIOS,
    TIMES,
    Lanes,
    cpu_seconds,
    figures,
    middle,
    seconds,
    spread,
    stored_bytes,
    timed,
)
from benchmarks.goals import GOALS, NOT_MEASURED
from benchmarks.machine import cores
from benchmarks.settings import Settings

#: Written by hand: how to read the figures, and what profiles showed.
_NOTES = Path(__file__).parent / "notes.md"
_FLAT = ("machine", "date", "source_path")


def write_results(settings: Settings, facts: Mapping[str, str], lanes: Lanes) -> None:
    """Writes both files; what was not measured is not in the JSON."""
    found = figures(lanes, cores=cores())
    document = {key: facts[key] for key in _FLAT} | {
        "rounds": _rounds(lanes),
        **found,
        **{f"{lane}_lane_spread": round(spread(each), 3) for lane, each in timed(lanes).items()},
        **{f"{lane}_lane_seconds": round(middle(each), 3) for lane, each in timed(lanes).items()},
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "RESULTS.json").write_text(text, encoding="utf-8")
    page = "\n".join(_page(facts, lanes, found)) + "\n"
    (settings.out / "RESULTS.md").write_text(page, encoding="utf-8")


def _rounds(lanes: Lanes) -> int:
    """Rounds that are complete; there may be fewer than were asked for."""
    return min(len(samples) for samples in lanes.values())


def _page(facts: Mapping[str, str], lanes: Lanes, found: Mapping[str, float]) -> Iterator[str]:
    yield "# Speed, measured"
    yield ""
    yield (
        f"Written by `make bench`. Lanes take turns, {_rounds(lanes)} rounds. Figures are "
        "medians; *by round* has the same figure of each round alone, the lowest and the "
        "highest. Every image that was restored was compared with its source before a number "
        "was printed."
    )
    yield ""
    yield from (f"* **{name}**: {value}" for name, value in facts.items())
    yield from ("", "## Figures", "")
    yield "| figure | measured | by round | goal | |"
    yield "| --- | --- | --- | --- | --- |"
    for key in (
        *RATIOS,
        "restore_vs_ceiling",
        *TIMES,
        "nochange_bytes",
        "peak_rss_mib",
        "collect_peak_mib",
        "spread",
    ):
        if key in found:
            yield _figure(key, found[key], lanes)
    yield from ("", "Not measured yet:", "")
    yield from (f"* `{key}`: {why}" for key, why in NOT_MEASURED.items() if key not in found)
    yield from ("", "## Lanes", "")
    yield "| lane | seconds | from, to | spread | processors busy | stored MB | memory MiB |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    yield from (_lane(lane, lanes) for lane in timed(lanes))
    yield ""
    yield _NOTES.read_text(encoding="utf-8").rstrip()


def _figure(key: str, number: float, lanes: Lanes) -> str:
    by_round = RATIOS[key].by_round(lanes) if key in RATIOS else []
    between = f"{min(by_round):.2f} to {max(by_round):.2f}" if by_round else ""
    goal = GOALS.get(key)
    told = goal.text if goal else ""
    met = "" if goal is None else ("met" if goal.holds(number) else "**missed**")
    return f"| `{key}` | {number:g} | {between} | {told} | {met} |"


def _lane(lane: str, lanes: Lanes) -> str:
    samples = lanes[lane]
    took = [sample.seconds for sample in samples]
    busy = middle(samples, cpu_seconds) / middle(samples, seconds)
    stored = middle(samples, stored_bytes) / 1e6
    memory = max(sample.peak_pss_bytes for sample in samples) / 1024**2
    return (
        f"| {lane} | {middle(samples):.2f} | {min(took):.2f} to {max(took):.2f} | "
        f"{spread(samples):.0%} | {busy:.2f} | {stored:.1f} | {memory:.0f} |"
    )

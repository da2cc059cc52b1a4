"""RESULTS.md for people and RESULTS.json for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from benchmarks.arithmetic import (
    RATIOS,
    TIMES,
    Lanes,
    cpu_seconds,
    figures,
    middle,
    p99_ms,
    peak_lane,
    percentile,
    seconds,
    spread,
    stored_bytes,
    timed,
)
from benchmarks.bounds import STAGES, bounds, stage_table
from benchmarks.goals import GOALS, OWED
from benchmarks.machine import cores
from benchmarks.settings import Settings

#: Written by hand: how to read the figures.
_NOTES = Path(__file__).parent / "notes.md"
_FLAT = ("machine", "date", "source_path")


def write_results(
    settings: Settings, facts: Mapping[str, str], lanes: Lanes, *, name: str = "RESULTS"
) -> None:
    """Writes both files, `name` with .md and .json; what was not measured is not in the JSON."""
    found = figures(lanes, cores=cores())
    highest = peak_lane(lanes)
    document = {key: facts[key] for key in _FLAT} | {
        "load_at_start": facts["load at the start"],
        "rounds": _rounds(lanes),
        **found,
        **({"peak_rss_lane": highest} if highest else {}),
        **{f"{lane}_lane_spread": round(spread(each), 3) for lane, each in timed(lanes).items()},
        **{f"{lane}_lane_seconds": round(middle(each), 3) for lane, each in timed(lanes).items()},
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / f"{name}.json").write_text(text, encoding="utf-8")
    page = "\n".join(_page(facts, lanes, found)) + "\n"
    (settings.out / f"{name}.md").write_text(page, encoding="utf-8")


def _rounds(lanes: Lanes) -> int:
    """The most rounds that a lane has; memory and processor time by stage need fewer."""
    return max(len(samples) for samples in lanes.values())


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
    ceilings = (key for key in found if key.startswith("ceiling_"))
    others = ("nochange_bytes", "peak_rss_mib", "collect_peak_mib", "schedule_idle_share", "spread")
    for key in (*RATIOS, "restore_vs_ceiling", *TIMES, *others, *ceilings):
        if key in found:
            yield _figure(key, found[key], lanes)
    yield from _missing(found)
    yield from _bounds(lanes, found)
    yield from _guest(lanes)
    yield from ("", "## Lanes", "")
    yield "| lane | seconds | from, to | spread | processors busy | stored MB | memory MiB |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    yield from (_lane(lane, lanes) for lane in timed(lanes))
    yield ""
    yield _NOTES.read_text(encoding="utf-8").rstrip()


def _missing(found: Mapping[str, float]) -> Iterator[str]:
    """What is owed and not there."""
    missing = [key for key in OWED if key not in _FLAT and key not in found]
    if missing:
        yield from ("", "Not measured, since their lanes were not run:", "")
        yield from (f"* `{key}`" for key in missing)


def _bounds(lanes: Lanes, found: Mapping[str, float]) -> Iterator[str]:
    missed = [key for key, goal in GOALS.items() if key in found and not goal.holds(found[key])]
    if missed:
        yield from ("", "## What bounds the goals that are missed", "")
        for key, words in bounds(lanes, missed, cores=cores()):
            yield f"* `{key}`: {words}."
    tables = {lane: rows for lane in STAGES if (rows := stage_table(lanes, lane))}
    if tables:
        yield from ("", "## Processor time by stage", "")
        yield "Each stage alone, in one thread, over the same bytes; the sum is the command itself."
    for lane, rows in tables.items():
        yield from ("", f"| stage of `{lane}` | CPU s |", "| --- | --- |")
        yield from (f"| {stage} | {number:.2f} |" for stage, number in rows)


def _guest(lanes: Lanes) -> Iterator[str]:
    phases = {name: samples for name, samples in lanes.items() if samples and samples[0].waits_ms}
    if not phases:
        return
    yield from ("", "## A guest's writes during a backup", "")
    yield "| phase | writes | median ms | p99 ms | from, to | longest ms | memory MiB |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, samples in phases.items():
        p99s = [p99_ms(sample) for sample in samples]
        halves = median(percentile(sample.waits_ms, 50) for sample in samples)
        longest = max(max(sample.waits_ms) for sample in samples)
        memory = max(sample.peak_pss_bytes for sample in samples) / 1024**2
        yield (
            f"| {name} | {sum(len(sample.waits_ms) for sample in samples)} | {halves:.2f} | "
            f"{median(p99s):.2f} | {min(p99s):.2f} to {max(p99s):.2f} | {longest:.0f} | "
            f"{memory:.0f} |"
        )


def _figure(key: str, number: float, lanes: Lanes) -> str:
    ratio = RATIOS.get(key)
    by_round = ratio.by_round(lanes) if ratio else []
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

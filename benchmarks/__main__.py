"""`make bench`: measures all lanes and writes RESULTS.md and RESULTS.json.

python -m benchmarks [disk] [guest] [memory] [big] [engine] [collect] [schedule]

All groups, into RESULTS.*; or these, into files that are named after them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import NoReturn

from benchmarks.aged import aged_repository, packs_per_leaf
from benchmarks.arithmetic import Sample
from benchmarks.audit import measure_audit
from benchmarks.big import measure_big
from benchmarks.collection import measure_collection
from benchmarks.engine import run_engine
from benchmarks.expiring import measure_expiring
from benchmarks.guest import measure_guest
from benchmarks.leftovers import Busy, alone, bench_server, end_processes, remove_servers
from benchmarks.machine import load_at_start, machine_facts
from benchmarks.memory import measure_memory
from benchmarks.results import Results
from benchmarks.rounds import TARGET, Round
from benchmarks.scheduling import measure_scheduling
from benchmarks.settings import DISK_SIZE_BYTES, Settings, settings_of
from benchmarks.source import ImagesDiffer, Source, make_source
from csbs.domain.clock import monotonic
from csbs.testing.libvirt_daemon import libvirt_running
from csbs.testing.libvirt_domains import DomainDisk

_RUN = Path("/run/csbs-bench")
_LOCK = Path("/run/csbs-bench.lock")
GROUPS = ("disk", "guest", "memory", "big", "engine", "collect", "schedule")
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


class Bench:
    """One run."""

    def __init__(self, settings: Settings, groups: list[str], results: Results) -> None:
        self._settings = settings
        self._groups = groups
        self._results = results
        self._facts = results.facts

    def run(self) -> None:
        """Measures; nothing is written unless all images that were restored are right."""
        began = monotonic()
        folder, rounds = self._settings.folder, self._settings.rounds
        self._facts["load at the start"] = load_at_start()  # before its own work adds to it
        print(f"bench: load {self._facts['load at the start']}", flush=True)
        self._say("make the disk")
        source = make_source(folder, files_bytes=self._settings.size_bytes)
        self._facts.update(machine_facts(source))
        if "disk" in self._groups:
            self._measure_disk(source)
        if "guest" in self._groups:
            self._say("writes in a real guest")
            measure_guest(folder, rounds=rounds, keep=self._keep, settle=self._results.settle)
        if "memory" in self._groups:
            self._say("memory: many disks, and one of 16 TiB")
            measure_memory(source, folder, keep=self._keep)
            self._results.settle()
        if "big" in self._groups:
            self._say("a running server with a disk of 1 TiB")
            measure_big(source, folder, rounds=rounds, keep=self._keep)
            self._say("the audit")
            measure_audit(source, folder / "audit", rounds=rounds, keep=self._keep)
            self._results.settle()
        if "engine" in self._groups:
            self._measure_engine(source)
        if "collect" in self._groups:
            self._say("a collection of 100 backups")
            measure_collection(folder / "aged-collection", rounds=rounds, keep=self._keep)
            self._results.settle()
        if "schedule" in self._groups:
            self._say("10,000 servers whose policies are due at once")
            measure_scheduling(self._settings, keep=self._keep)
            self._say("expiry of one policy among a million backups")
            measure_expiring(self._settings, keep=self._keep)
            self._results.settle()
        self._facts["took"] = f"{(monotonic() - began) / 60:.0f} minutes"

    def _measure_disk(self, source: Source) -> None:
        disk = DomainDisk(target=TARGET, size_bytes=DISK_SIZE_BYTES)
        with bench_server([disk]) as server:
            for number in range(1, self._settings.rounds + 1):
                self._say(f"round {number} of {self._settings.rounds}")
                folder = self._settings.folder
                Round(
                    source=source, server=server, folder=folder, seed=number, keep=self._keep
                ).run()
                self._results.settle()

    def _measure_engine(self, source: Source) -> None:
        age = self._settings.age
        self._say(f"a map of 1 TiB, aged by {age} increments")
        aged = aged_repository(self._settings.folder / f"aged-{age}", age=age)
        for number in range(1, self._settings.rounds + 1):
            nodes_before = aged.store.node_bytes
            run_engine(aged, source.raw, seed=number, keep=self._keep)
            self._facts["aged map"] = (
                f"1 TiB after {age} increments, {packs_per_leaf(aged):.1f} packs a leaf; "
                f"{(aged.store.node_bytes - nodes_before) / 1e6:.1f} MB of nodes in the three "
                "increments of a round"
            )
        self._results.settle()

    def _keep(self, lane: str, sample: Sample) -> None:
        print(f"  {lane} is done", flush=True)
        self._results.keep(lane, sample)

    def _say(self, what: str) -> None:
        print(f"- {what} ...", flush=True)


def main(arguments: list[str]) -> int:
    """Runs it as root; returns the exit code."""
    settings = settings_of(os.environ)
    groups = arguments or list(GROUPS)
    if os.geteuid() != 0 or not set(groups) <= set(GROUPS):
        print(f"bench: run it as root; groups are {', '.join(GROUPS)}")
        return 2
    for number in _ENDING_SIGNALS:
        signal.signal(number, _interrupt)
    signal.alarm(settings.minutes_max * 60)
    try:
        with alone(_LOCK):
            _measure(settings, groups)
    except Busy as error:
        print(f"bench: {error}")
        return 1
    except ImagesDiffer as error:
        print(f"bench: {error}; nothing was written")
        return 1
    except KeyboardInterrupt:
        print(f"bench: interrupted, and cleaned up; RESULTS.* in {settings.out} are as they were")
        return 130
    print((settings.out / f"{_name(groups)}.md").read_text(encoding="utf-8"))
    return 0


def _measure(settings: Settings, groups: list[str]) -> None:
    """All of it, and nothing is left of it, nor of a former run that was killed."""
    results = Results(settings, name=_name(groups))
    with libvirt_running():
        remove_servers()
        end_processes(settings.folder)
        _clear(settings.folder, keep_aged=True)
        settings.folder.mkdir(parents=True, exist_ok=True)
        try:
            with results.written():
                Bench(settings, groups, results).run()
        finally:
            end_processes(settings.folder)
            _clear(settings.folder, keep_aged="BENCH_KEEP" in os.environ)
            _clear(_RUN, keep_aged=False)


def _name(groups: list[str]) -> str:
    return "RESULTS" if set(groups) == set(GROUPS) else "-".join(["RESULTS", *groups])


def _interrupt(number: int, _frame: object) -> NoReturn:
    """Once: what is cleaned up then takes its time."""
    print(f"bench: {signal.Signals(number).name}: cleaning up ...", flush=True)
    for each in _ENDING_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _clear(folder: Path, *, keep_aged: bool) -> None:
    """Removes all; an aged repository, which takes minutes to make, where it is wanted."""
    if not folder.exists():
        return
    for path in folder.iterdir():
        if keep_aged and path.name.startswith("aged-"):
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

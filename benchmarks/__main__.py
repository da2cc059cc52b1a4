"""`make bench`: measures all lanes and writes RESULTS.md and RESULTS.json.

python -m benchmarks [disk] [big] [engine] [collect]      these groups only; all of them by default
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from benchmarks.aged import aged_repository, packs_per_leaf
from benchmarks.arithmetic import Sample
from benchmarks.audit import measure_audit
from benchmarks.big import measure_big
from benchmarks.collection import measure_collection
from benchmarks.engine import run_engine
from benchmarks.machine import load, machine_facts
from benchmarks.report import write_results
from benchmarks.rounds import TARGET, Round
from benchmarks.settings import DISK_SIZE_BYTES, Settings, settings_of
from benchmarks.source import Source, make_source
from csbs.domain.clock import new_id, sleep
from csbs.testing.libvirt_daemon import libvirt_running
from csbs.testing.libvirt_domains import DomainDisk, domain_server

_RUN = Path("/run/csbs-bench")
GROUPS = ("disk", "big", "engine", "collect")


class Bench:
    """One run: its samples, and what they are written to after each round."""

    def __init__(self, settings: Settings, groups: list[str]) -> None:
        self._settings = settings
        self._groups = groups
        self._lanes: dict[str, list[Sample]] = {}
        self._facts: dict[str, str] = {}

    def run(self) -> None:
        """Measures; no number is printed before the images were compared."""
        folder = self._settings.folder
        self._say("make the disk")
        source = make_source(folder, files_bytes=self._settings.size_bytes)
        self._facts = machine_facts(source)
        if "disk" in self._groups:
            self._measure_disk(source)
        if "big" in self._groups:
            self._say("a running server with a disk of 1 TiB")
            measure_big(source, folder, rounds=self._settings.rounds, keep=self._keep)
            self._say("the audit")
            measure_audit(source, folder / "audit", rounds=self._settings.rounds, keep=self._keep)
            self._write()
        if "engine" in self._groups:
            self._measure_engine(source)
        if "collect" in self._groups:
            self._say("a collection of 100 backups")
            backups = folder / "aged-collection"
            measure_collection(backups, rounds=self._settings.rounds, keep=self._keep)
            self._write()

    def _measure_disk(self, source: Source) -> None:
        disk = DomainDisk(target=TARGET, size_bytes=DISK_SIZE_BYTES)
        with domain_server([disk], new_id=new_id, sleep=sleep) as server:
            for number in range(1, self._settings.rounds + 1):
                self._say(f"round {number} of {self._settings.rounds}")
                folder = self._settings.folder
                Round(
                    source=source, server=server, folder=folder, seed=number, keep=self._keep
                ).run()
                self._write()

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
        self._write()

    def _keep(self, lane: str, sample: Sample) -> None:
        print(f"  {lane} is done", flush=True)
        self._lanes.setdefault(lane, []).append(sample)

    def _write(self) -> None:
        self._facts["load at the end"] = load()
        write_results(self._settings, self._facts, self._lanes)

    def _say(self, what: str) -> None:
        print(f"- {what} ...", flush=True)


def main(arguments: list[str]) -> int:
    """Runs it as root; returns the exit code."""
    settings = settings_of(os.environ)
    groups = arguments or list(GROUPS)
    if os.geteuid() != 0 or not set(groups) <= set(GROUPS):
        print(f"bench: run it as root; groups are {', '.join(GROUPS)}")
        return 2
    _clear(settings.folder, keep_aged=True)
    settings.folder.mkdir(parents=True, exist_ok=True)
    try:
        with libvirt_running():
            Bench(settings, groups).run()
    finally:
        _clear(settings.folder, keep_aged="BENCH_KEEP" in os.environ)
        _clear(_RUN, keep_aged=False)
    print((settings.out / "RESULTS.md").read_text(encoding="utf-8"))
    return 0


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

"""The samples of a run, and when they are written.

Samples of a round count when the round has ended: then every image of it was compared.  RESULTS.md
and RESULTS.json are written at the end of a whole run, RESULTS-schedule.* and the like at the end
of a run of that group alone.  What a run has measured that failed or was interrupted goes to
RESULTS-unfinished.*; a run whose images differ leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from benchmarks.arithmetic import Sample
from benchmarks.machine import load
from benchmarks.report import write_results
from benchmarks.settings import Settings
from benchmarks.source import ImagesDiffer

_UNFINISHED = "RESULTS-unfinished"


@dataclass(slots=True)
class Results:
    """Collects samples; `facts` says what a reader must know of the machine."""

    settings: Settings
    #: What the files are called, without their endings.
    name: str = "RESULTS"
    facts: dict[str, str] = field(default_factory=dict)
    _lanes: dict[str, list[Sample]] = field(default_factory=dict)
    _unsettled: list[tuple[str, Sample]] = field(default_factory=list)

    def keep(self, lane: str, sample: Sample) -> None:
        """Keeps a sample of the present round."""
        self._unsettled.append((lane, sample))

    def settle(self) -> None:
        """The round has ended, and all of its images were compared."""
        for lane, sample in self._unsettled:
            self._lanes.setdefault(lane, []).append(sample)
        self._unsettled.clear()

    @contextmanager
    def written(self) -> Iterator[None]:
        """Writes what was settled, when the body has ended; see the module."""
        self._forget_unfinished()
        try:
            yield
        except ImagesDiffer:
            raise
        except BaseException:
            self._write(_UNFINISHED)
            raise
        self._write(self.name)

    def _write(self, name: str) -> None:
        if self._lanes:
            self.facts["load at the end"] = load()
            write_results(self.settings, self.facts, self._lanes, name=name)

    def _forget_unfinished(self) -> None:
        for ending in (".md", ".json"):
            with suppress(FileNotFoundError):
                (self.settings.out / f"{_UNFINISHED}{ending}").unlink()

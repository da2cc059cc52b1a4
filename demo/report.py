"""What the demo tells: each step with its time, and a table at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from csbs.cli.output import size, table
from csbs.domain.clock import monotonic

_HEADINGS = ("STEP", "TIME", "READ", "CHANGED", "STORED", "SPEED")


@dataclass(slots=True)
class Step:
    """One line of the table."""

    name: str
    duration_s: float = 0.0
    #: What the command said of a backup or a restore.
    read: str = ""
    changed: str = ""
    stored: str = ""
    speed: str = ""

    def tell_backup(self, backup: dict[str, Any], copy_duration_s: float) -> None:
        """Sizes of a backup, from its document, and the speed at which it was read."""
        self.read = size(backup["read_bytes"])
        self.changed = size(backup["changed_bytes"])
        self.stored = size(backup["stored_bytes"])
        self._tell_speed(backup["read_bytes"], copy_duration_s)

    def tell_restore(self, size_bytes: int, duration_s: float) -> None:
        """What a restore wrote."""
        self.changed = size(size_bytes)
        self._tell_speed(size_bytes, duration_s)

    def _tell_speed(self, size_bytes: int, duration_s: float) -> None:
        self.speed = f"{size_bytes / 1e6 / duration_s:.0f} MB/s" if duration_s else ""

    @property
    def cells(self) -> tuple[str, ...]:
        """Its cells in the table."""
        time = f"{self.duration_s:.1f} s"
        return (self.name, time, self.read, self.changed, self.stored, self.speed)


@dataclass(slots=True)
class Report:
    """Prints steps as they come, and keeps them."""

    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Times the body and prints the step with what the body told of it."""
        print(f"- {name} ...", flush=True)
        step = Step(name)
        began = monotonic()
        yield step
        step.duration_s = monotonic() - began
        self.steps.append(step)
        told = [
            f"{word} {value}"
            for word, value in (
                ("read", step.read),
                ("changed", step.changed),
                ("stored", step.stored),
                ("at", step.speed),
            )
            if value
        ]
        print(f"  {step.duration_s:.1f} s" + "".join(f", {each}" for each in told), flush=True)

    def show(self) -> None:
        """Prints the table."""
        print()
        print(table(_HEADINGS, [step.cells for step in self.steps]))

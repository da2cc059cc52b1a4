"""Progress of a running task: a bar on a terminal; Ctrl-C asks it to stop."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from csbs.cli.output import Output, progress_text
from csbs.domain.clock import Monotonic, monotonic
from csbs.domain.pace import Pace
from csbs.domain.task import Progress, Watcher

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def watched(output: Output, doing: str = "waiting for the server") -> Iterator[Watcher]:
    """A watcher that draws a bar for people, and whose `cancel` Ctrl-C sets.

    `doing` stands there until the first report.
    """
    cancel = threading.Event()
    with _asking_to_stop(cancel):
        if output.as_json or not sys.stderr.isatty():
            yield Watcher(on_progress=_ignore, cancel=cancel)
            return
        from rich.console import Console  # noqa: PLC0415  not needed for `csbs --help`
        from rich.progress import BarColumn, TextColumn  # noqa: PLC0415  likewise
        from rich.progress import Progress as Bars  # noqa: PLC0415  likewise

        amounts = _Amounts(monotonic)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[amounts]}"),
        )
        with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
            bar = bars.add_task(doing, total=None, amounts=amounts)

            def draw(progress: Progress) -> None:
                amounts.report(progress)
                bars.update(
                    bar,
                    description=progress.doing,
                    completed=progress.done_bytes,
                    total=progress.total_bytes or None,
                )

            yield Watcher(on_progress=draw, cancel=cancel)


class _Amounts:
    """What is written behind the bar; the time left grows while nothing is reported."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self._latest = Progress("", 0, 0)
        self._pace = Pace()
        self._lock = threading.Lock()

    def report(self, progress: Progress) -> None:
        """The task has come so far."""
        with self._lock:
            self._latest = progress
            self._pace.report(self._monotonic(), progress.done_bytes, progress.total_bytes)

    def __str__(self) -> str:
        with self._lock:
            latest, estimate = self._latest, self._pace.estimate(self._monotonic())
        if estimate is None:
            return progress_text(latest.done_bytes, latest.total_bytes, None, None)
        return progress_text(
            latest.done_bytes, latest.total_bytes, estimate.bytes_per_s, estimate.left_s
        )


@contextmanager
def _asking_to_stop(cancel: threading.Event) -> Iterator[None]:
    def ask(number: int, _frame: FrameType | None) -> None:
        again = " (already at it)" if cancel.is_set() else ""
        sys.stderr.write(f"\ncsbs: {signal.Signals(number).name}: stopping cleanly{again} ...\n")
        cancel.set()

    # What is ignored stays ignored: `nohup csbs ...` must survive a hang-up.
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, ask) for number in heard}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _ignore(_progress: Progress) -> None:
    """Nobody looks."""

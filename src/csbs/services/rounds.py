"""Something that is done again and again, by a thread, for as long as a service runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from csbs.domain.errors import CatalogFailed, CsbsError
from csbs.domain.ids import ProjectId

log = logging.getLogger(__name__)

_STOP_WAIT_S = 10.0

#: Whether the service stops.
Stopping = Callable[[], bool]


class Rounds:
    """Calls `action` at its start, and again so long after each end."""

    def __init__(
        self,
        name: str,
        action: Callable[[Stopping], object],
        interval_s: float,
        *,
        stop_wait_s: float = _STOP_WAIT_S,
    ) -> None:
        """What `action` raises is logged; the next round tries again."""
        self._name = name
        self._action = action
        self._interval_s = interval_s
        self._stop_wait_s = stop_wait_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begins; returns at once."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Begins no further round; returns at once."""
        self._stopping.set()

    def stop(self) -> bool:
        """Ends; whether it has, since it waits only a while for a round that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(self._stop_wait_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            try:
                self._action(self._stopping.is_set)
            except CatalogFailed as error:
                log.warning(
                    "nothing is done for now", extra={"round": self._name, "why": str(error)}
                )
            except Exception:  # the top of a thread: the next round tries again
                log.exception("a round failed", extra={"round": self._name})
            if self._stopping.wait(self._interval_s):
                return


def for_each_project(
    project_ids: Callable[[], Iterable[ProjectId]],
    action: Callable[[ProjectId, Stopping], object],
    failed: str,
) -> Callable[[Stopping], None]:
    """A round that does something for one project after another, until the service stops.

    What fails in one is logged as `failed`, hinders no other, and is tried again in the next round.
    """

    def round_of_all(stopping: Stopping) -> None:
        for project_id in project_ids():
            if stopping():
                return
            try:
                action(project_id, stopping)
            except CsbsError as error:
                log.warning(failed, extra={"project_id": project_id, "why": str(error)})
            except Exception:  # a fault of ours, or a row that cannot be read: the others go on
                log.exception(failed, extra={"project_id": project_id})

    return round_of_all

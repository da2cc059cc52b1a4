"""Opening the disks of a running server while its file systems are frozen.

    prepare   agent, watchdog in the guest, no former debt       else: crash consistency, and why
    arm       the watchdog's time begins
    owe       the thaw is on record
    freeze    by the guest agent; a timer of ours begins too
    begin     the hypervisor opens the disks                     no SQL and no store call in here
    thaw      asked until nothing is frozen; then the debt ends

A freeze that goes wrong stops somebody's production, so three parties thaw: this process, the
guard beside the job (`guard.py`), which outlives it, and the watchdog inside the guest
(`watchdog.py`), which outlives the host's libvirt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from csbs.compute.libvirt.agent import GuestAgent
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.folders import HostFolders
from csbs.compute.libvirt.thaw_debt import debt_file, owe_thaw, pay_thaw
from csbs.compute.libvirt.watchdog import Watchdog
from csbs.domain.clock import Monotonic, NewId, Sleep
from csbs.domain.consistency import (
    FreezeEvidence,
    ReachedConsistency,
    crash_only,
    judge_freeze,
)
from csbs.domain.errors import CsbsError, GuestAgentFailed, OperationCancelled
from csbs.domain.ids import ServerId

log = logging.getLogger(__name__)

_FREEZE_COMMANDS = ("guest-fsfreeze-freeze", "guest-fsfreeze-thaw")
_EXEC_COMMANDS = ("guest-exec", "guest-exec-status")
#: So much later than this process, others thaw too.
_LATE_MARGIN_S = 0.5
_THAW_TIMEOUT_S = 2.0

#: Opens the disks.
Begin = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Freezing:
    """What freezing works with, and how long a guest may be frozen."""

    connection: Connection
    folders: HostFolders
    budget_s: float
    monotonic: Monotonic
    sleep: Sleep
    new_id: NewId


def begin_frozen(
    parts: Freezing,
    server_id: ServerId,
    begin: Begin,
    *,
    without_watchdog: bool,
    cancelled: Callable[[], bool] | None = None,
) -> ReachedConsistency:
    """Calls `begin` once, with frozen file systems if that is safe, and says what was reached.

    `without_watchdog` calls it safe although nobody inside the guest can thaw.  Raises what
    `begin` raises; the guest is thawed then too.  An agent that hangs is waited for until
    `cancelled`: then it raises `OperationCancelled`, and nothing was begun.
    """
    debt = debt_file(parts.folders, server_id)
    owed = pay_thaw(parts.connection, debt, server_id)
    if owed is not None:
        begin()
        return crash_only(f"a thaw of the guest is still owed: {owed}")
    agent = GuestAgent(
        connection=parts.connection,
        server_id=server_id,
        monotonic=parts.monotonic,
        sleep=parts.sleep,
    )
    watchdog = None
    try:
        # Before that nothing was done to the guest: it may be given up in the middle.
        agent.require(*_FREEZE_COMMANDS, cancelled=cancelled)
        if not without_watchdog:
            watchdog = _start_watchdog(parts, agent)
            watchdog.arm()
        late_s = parts.monotonic() + parts.budget_s + _LATE_MARGIN_S
        owe_thaw(parts.connection, debt, server_id, late_s=late_s)
    except OperationCancelled:
        raise
    except CsbsError as error:
        if watchdog is not None:  # armed, it would thaw what others freeze
            _finish(watchdog)
        begin()
        return crash_only(str(error))
    try:
        reached = _Freeze(parts, agent).around(begin)
    finally:
        owed = pay_thaw(parts.connection, debt, server_id)
        if owed is not None:
            log.error("a guest may still be frozen", extra={"server": server_id, "why": owed})
        frozen_in_guest_ms = _finish(watchdog) if watchdog and owed is None else None
    if reached.freeze is None:
        return reached
    measured = replace(reached.freeze, frozen_in_guest_ms=frozen_in_guest_ms)
    return replace(reached, freeze=measured)


def _start_watchdog(parts: Freezing, agent: GuestAgent) -> Watchdog:
    agent.require(*_EXEC_COMMANDS)
    return Watchdog.start(agent, budget_s=parts.budget_s, new_id=parts.new_id)


class _Freeze:
    """One freeze, with the timer that ends it."""

    def __init__(self, parts: Freezing, agent: GuestAgent) -> None:
        self._parts = parts
        self._agent = agent
        self._thaw_began_early = False
        self._has_begun = threading.Event()

    def around(self, begin: Begin) -> ReachedConsistency:
        """Freezes, begins, thaws; without a freeze it begins all the same."""
        timer = threading.Timer(self._parts.budget_s, self._thaw_in_time)
        timer.daemon = True
        frozen_at = self._parts.monotonic()
        timer.start()
        try:
            frozen: int = self._agent.ask("guest-fsfreeze-freeze", timeout_s=self._parts.budget_s)
        except GuestAgentFailed as error:
            timer.cancel()
            self._thaw()
            begin()
            return crash_only(str(error))
        try:
            begin()
            self._has_begun.set()
        finally:
            timer.cancel()
            thawed = self._thaw()
        evidence = FreezeEvidence(
            file_systems=frozen,
            frozen_ms=round((self._parts.monotonic() - frozen_at) * 1000),
        )
        return judge_freeze(
            evidence,
            thawed=thawed,
            thaw_began_early=self._thaw_began_early,
            budget_s=self._parts.budget_s,
        )

    def _thaw_in_time(self) -> None:
        if not self._has_begun.is_set():
            self._thaw_began_early = True
            self._thaw()

    def _thaw(self) -> int:
        """How many file systems thawed; one that fails stays owed."""
        try:
            thawed: int = self._agent.ask("guest-fsfreeze-thaw", timeout_s=_THAW_TIMEOUT_S)
        except GuestAgentFailed as error:
            log.warning("a thaw failed", extra={"why": str(error)})
            return 0
        return thawed


def _finish(watchdog: Watchdog) -> int | None:
    try:
        return watchdog.finish()
    except GuestAgentFailed as error:  # it ends by itself
        log.warning("the watchdog was not ended", extra={"why": str(error)})
        return None

"""The guard beside a backup job of a running server: it lets the server go before it is harmed.

Before the server overwrites something, QEMU saves it to scratch files.  When their file system is
full, QEMU pauses the *server*, which stays paused even when the job is aborted.  A job outlives a
csbs that was killed, so the guard is a process of its own; it ends with the job:

    csbs ── starts ──► guard: every 0.2 s     used by the job > cap?      free < reserve?
      │                  │                    paused by an I/O error?
      └── job ───────────┘ yes: say why in the report, abort the job, resume the server

While the job begins, the server's file systems may be frozen.  If csbs is killed then, or cannot
thaw, the guard pays that debt too (`thaw_debt.py`).
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from csbs.compute.libvirt.binding import libvirt
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.domain_xml import job_socket
from csbs.compute.libvirt.thaw_debt import pay_late_thaw
from csbs.domain.clock import Monotonic, Sleep, monotonic, sleep
from csbs.domain.errors import CsbsError, DriverFailed, ScratchFull, ServerNotFound
from csbs.domain.ids import ServerId

log = logging.getLogger(__name__)

#: How fast a server can write in between is what the reserve is for.
_POLL_INTERVAL_S = 0.2
#: A job that has not begun by then never will: libvirt gives up a call of its own earlier.
_BEGIN_TIMEOUT_S = 120.0
_CALL_TIMEOUT_S = 30.0
_READY_TIMEOUT_S = 30.0
_END_WAIT_S = 10.0
#: So long it asks a guest that does not thaw; then the next command for that server does.
_DEBT_TIMEOUT_S = 3600.0
#: A libvirt that is silent for so long does not come back for this job.
_SILENCE_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchLimits:
    """How much scratch space a job may use, and how much must stay free, in bytes."""

    max_bytes: int = 64 * 1024**3
    reserve_bytes: int = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardOrder:
    """What a guard looks after; travels as JSON."""

    uri: str
    server_id: str
    #: Of the job: a job with another socket is not ours.
    socket: str
    scratch: str
    max_bytes: int
    reserve_bytes: int
    #: An I/O error had paused the server before the job began: that is none of ours.
    was_stuck: bool
    #: Record of a thaw that is owed.
    thaw_debt: str
    #: Says why the guard ended the job; absent while it had no reason to.
    report: str


def require_scratch_space(server: str, folder: Path, limits: ScratchLimits) -> None:
    """Raises `ScratchFull` if the reserve is used up before the job begins."""
    why = _why_short(folder, limits.reserve_bytes)
    if why is not None:
        raise ScratchFull(server, str(folder), why)


class Guard:
    """The guard of one job, as csbs sees it; it outlives csbs if that is killed."""

    def __init__(self, server: str, order: GuardOrder) -> None:
        """Starts it, in a session of its own; `server` is the name for errors."""
        self._server = server
        self._order = order
        self._process = _start(order, stdout=subprocess.PIPE)

    def wait_until_ready(self) -> None:
        """Waits until it looks after the job.  Raises `DriverFailed` if it does not start."""
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            self._process.stdout = None
            poller = select.poll()
            poller.register(stdout, select.POLLIN)
            if not poller.poll(_READY_TIMEOUT_S * 1000) or not stdout.readline():
                why = "the guard of its scratch space did not start"
                raise DriverFailed(self._server, "", "the backup", why)

    def keep(self) -> None:
        """Starts it again if it is gone although the job is not."""
        if self._process.poll() is not None:
            log.warning("the guard of a job is gone: another one is started")
            self._process = _start(self._order, stdout=subprocess.DEVNULL)

    def end(self) -> None:
        """Ends it, unless a thaw is owed: then it ends by itself, perhaps after this process."""
        if Path(self._order.thaw_debt).exists():
            return
        self._process.terminate()
        self._process.communicate(timeout=_END_WAIT_S)


def _start(order: GuardOrder, *, stdout: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "csbs.compute.libvirt.guard", json.dumps(asdict(order))],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # It may end long after its job, and whoever had the job is gone by then: no zombie is left.
    threading.Thread(target=process.wait, name="guard-reaper", daemon=True).start()
    return process


def reason_of(report: Path) -> str | None:
    """Why the guard ended the job; None if it did not, or had no space to say so."""
    try:
        return report.read_text(encoding="utf-8") or None
    except FileNotFoundError:
        return None


def watch(order: GuardOrder, connection: Connection, *, now: Monotonic, pause: Sleep) -> None:
    """Looks after the job until it has ended, and until no thaw is owed.

    A libvirt that is restarted is waited for, but not for ever.
    """
    server_id = ServerId(order.server_id)
    debt = _Debt(order, connection, now)
    begins_until = now() + _BEGIN_TIMEOUT_S
    began = ended = False
    heard_at = now()
    while not ended or debt.is_open():
        try:
            debt.pay_if_late()
            there = connection.on_domain(server_id, "looking", lambda domain: _look(order, domain))
            if began and not there and not order.was_stuck:
                connection.on_domain(server_id, "resuming", resume_if_stuck)
            ended = not there and (began or now() > begins_until)
            began = began or there
            heard_at = now()
        except ServerNotFound:
            ended = True
        except (CsbsError, OSError):  # libvirtd restarts: the job goes on, and so do we
            if now() - heard_at > _SILENCE_TIMEOUT_S:
                return
        pause(_POLL_INTERVAL_S)


class _Debt:
    """A thaw that is owed to the server."""

    def __init__(self, order: GuardOrder, connection: Connection, now: Monotonic) -> None:
        self._server_id = ServerId(order.server_id)
        self._connection = connection
        self._now = now
        self._file = Path(order.thaw_debt)
        self._until = now() + _DEBT_TIMEOUT_S

    def is_open(self) -> bool:
        """Whether a thaw is owed, and may still be had."""
        return self._file.exists() and self._now() < self._until

    def pay_if_late(self) -> None:
        """Thaws when csbs should have done so before."""
        pay_late_thaw(self._connection, self._file, self._server_id, now_s=self._now())


def _look(order: GuardOrder, domain: libvirt.virDomain) -> bool:
    """Whether the job is there; ends it if it does harm."""
    if not _is_ours(order, domain):
        return False
    why = _harm(order, domain)
    if why is not None:
        with suppress(OSError):  # a run folder that is full keeps nobody from ending the job
            Path(order.report).write_text(why, encoding="utf-8")
        domain.abortJob()
    return True


def resume_if_stuck(domain: libvirt.virDomain) -> None:
    """What was full has room again: scratch files go with their job."""
    if domain.isActive() and is_stuck(domain):
        domain.resume()


def _is_ours(order: GuardOrder, domain: libvirt.virDomain) -> bool:
    try:
        return job_socket(domain.backupGetXMLDesc()) == order.socket
    except libvirt.libvirtError as error:
        if error.get_error_code() in {
            libvirt.VIR_ERR_NO_DOMAIN_BACKUP,
            libvirt.VIR_ERR_OPERATION_INVALID,
        }:
            return False
        raise


def _harm(order: GuardOrder, domain: libvirt.virDomain) -> str | None:
    used_bytes = domain.jobStats().get("disk_temp_used", 0)
    if used_bytes > order.max_bytes:
        return f"the server overwrote more than {_mib(order.max_bytes)} during the backup"
    short = _why_short(Path(order.scratch), order.reserve_bytes)
    if short is None and is_stuck(domain) and not order.was_stuck:
        return "the server was paused by an I/O error"
    return short


def _why_short(folder: Path, reserve_bytes: int) -> str | None:
    """Why there is too little space; None where there is enough."""
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        return f"nobody can tell how much is free ({error.strerror})"
    if free_bytes >= reserve_bytes:
        return None
    return f"{_mib(free_bytes)} are free, and {_mib(reserve_bytes)} must stay free"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.0f} MiB"


def is_stuck(domain: libvirt.virDomain) -> bool:
    """Whether an I/O error paused the server."""
    state, reason = domain.state()
    return (state, reason) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR)


def main() -> None:
    """The guard's process."""
    order = GuardOrder(**json.loads(sys.argv[1]))
    os.chdir("/")  # keeps no file system from being unmounted
    connection = Connection(order.uri, timeout_s=_CALL_TIMEOUT_S, open_uri=None)
    sys.stdout.write("ready\n")
    sys.stdout.close()
    watch(order, connection, now=monotonic, pause=sleep)


if __name__ == "__main__":
    main()

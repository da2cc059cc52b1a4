"""The connection to libvirt: opened at its first use, each call with a time limit.

libvirt's calls have no limit of their own.  So each runs on a thread, and the caller waits for
it; a call that hangs keeps its thread, and is told as `HypervisorTimeout`.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from csbs.compute.libvirt.binding import is_installed, libvirt
from csbs.domain.clock import monotonic
from csbs.domain.errors import (
    CsbsError,
    DriverFailed,
    HypervisorDenied,
    HypervisorTimeout,
    HypervisorUnavailable,
    OperationCancelled,
    ServerNotFound,
)
from csbs.domain.ids import ServerId

T = TypeVar("T")

#: libvirt itself gives up waiting for another job of the domain after 30 s; its error says more
#: than ours, so ours comes later.
CALL_TIMEOUT_S = 45.0
#: Hung calls keep their threads: no more than these, then nothing is called any more.
_CALLS_MAX = 32
#: How often it is looked whether somebody cancelled what is waited for.
_LOOK_INTERVAL_S = 0.1


class Connection:
    """Calls libvirt at one URI.  May be used by several threads."""

    def __init__(
        self,
        uri: str,
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        open_uri: Callable[[str], libvirt.virConnect] | None = None,
    ) -> None:
        self.uri = uri
        self._timeout_s = timeout_s
        self._open_uri = open_uri
        self._opened: libvirt.virConnect | None = None
        self._opening = threading.Lock()
        self._slots = threading.BoundedSemaphore(_CALLS_MAX)

    def call(
        self,
        doing: str,
        function: Callable[[libvirt.virConnect], T],
        *,
        server: str = "",
        timeout_s: float | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> T:
        """Runs `function` on a thread and returns what it returned.

        `timeout_s` replaces the usual limit, for calls that may take longer.  Who gives `cancelled`
        waits no longer than until then: `OperationCancelled`; the call goes on by itself.

        Raises `HypervisorUnavailable`, `HypervisorDenied`, `HypervisorTimeout`, `ServerNotFound`
        and `DriverFailed`, which name `server`; errors of ours pass through.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        if not self._slots.acquire(timeout=limit_s):
            raise HypervisorTimeout(server or self.uri, doing, limit_s)
        future: Future[T] = Future()
        thread = threading.Thread(
            target=self._work, args=(future, doing, function, server), name=doing, daemon=True
        )
        thread.start()
        if cancelled is None:
            thread.join(limit_s)
        else:
            _join(thread, limit_s, cancelled, doing)
        if not future.done():
            raise HypervisorTimeout(server or self.uri, doing, limit_s)
        return future.result()

    def on_domain(
        self,
        server_id: ServerId,
        doing: str,
        function: Callable[[libvirt.virDomain], T],
        *,
        timeout_s: float | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> T:
        """Runs `function` with the server's domain; see `call`."""
        return self.call(
            doing,
            lambda connection: self._with_domain(connection, server_id, doing, function),
            server=server_id,
            timeout_s=timeout_s,
            cancelled=cancelled,
        )

    def _with_domain(
        self,
        connection: libvirt.virConnect,
        server_id: ServerId,
        doing: str,
        function: Callable[[libvirt.virDomain], T],
    ) -> T:
        domain = connection.lookupByUUIDString(server_id)
        try:
            return function(domain)
        except libvirt.libvirtError as error:
            if not connection.isAlive():
                raise
            # From here on its name is known, which says more to people than its id.
            raise _call_error(error, self.uri, domain.name(), doing) from error

    def _work(
        self,
        future: Future[T],
        doing: str,
        function: Callable[[libvirt.virConnect], T],
        server: str,
    ) -> None:
        try:
            future.set_result(self._translating(doing, function, server))
        except BaseException as error:  # noqa: BLE001  the end of a thread: its caller raises it
            future.set_exception(error)
        finally:
            self._slots.release()

    def _translating(
        self, doing: str, function: Callable[[libvirt.virConnect], T], server: str
    ) -> T:
        connection = self._living()
        try:
            return function(connection)
        except libvirt.libvirtError as error:
            if not connection.isAlive():
                raise HypervisorUnavailable(self.uri, message_of(error)) from error
            raise _call_error(error, self.uri, server, doing) from error

    def _living(self) -> libvirt.virConnect:
        """The connection, opened anew if libvirtd was restarted meanwhile."""
        if not is_installed():
            raise HypervisorUnavailable(
                self.uri, "the Python module libvirt is missing (Debian: python3-libvirt)"
            )
        with self._opening:
            if self._opened is not None and _answers(self._opened):
                return self._opened
            try:
                self._opened = (self._open_uri or libvirt.open)(self.uri)
            except libvirt.libvirtError as error:
                self._opened = None
                raise _open_error(error, self.uri) from error
            return self._opened


def _join(
    thread: threading.Thread, limit_s: float, cancelled: Callable[[], bool], doing: str
) -> None:
    end_s = monotonic() + limit_s
    while thread.is_alive() and (left_s := end_s - monotonic()) > 0:
        if cancelled():
            raise OperationCancelled(doing)
        thread.join(min(left_s, _LOOK_INTERVAL_S))


def message_of(error: libvirt.libvirtError) -> str:
    """Libvirt's own sentence."""
    return error.get_error_message() or str(error)


def _answers(connection: libvirt.virConnect) -> bool:
    try:
        connection.getLibVersion()
    except libvirt.libvirtError:
        return False
    return True


def _denied(error: libvirt.libvirtError) -> bool:
    return error.get_error_code() in {
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_OPERATION_DENIED,
    }


def _open_error(error: libvirt.libvirtError, uri: str) -> CsbsError:
    no_right = error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR and error.get_int1() in {
        errno.EACCES,
        errno.EPERM,
    }
    if no_right or _denied(error):
        return HypervisorDenied(uri, message_of(error))
    return HypervisorUnavailable(uri, message_of(error))


def _call_error(error: libvirt.libvirtError, uri: str, server: str, doing: str) -> CsbsError:
    if _denied(error):
        return HypervisorDenied(uri, message_of(error))
    if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
        return ServerNotFound(server)
    return DriverFailed(server, "", doing, message_of(error))

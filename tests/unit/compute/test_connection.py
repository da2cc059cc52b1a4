"""The connection: time limits, and foreign errors made ours."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from csbs.compute.libvirt import DriverOptions, LibvirtDriver
from csbs.compute.libvirt.binding import libvirt
from csbs.compute.libvirt.connection import Connection
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

SERVER = ServerId("6d2c0d5c-0000-4000-8000-000000000000")


class Failure(libvirt.libvirtError):
    """An error as libvirt raises it, with a code of our choice."""

    def __init__(self, code: int, *, number: int = 0) -> None:
        Exception.__init__(self, "foreign sentence")
        self._code = code
        self._number = number

    def get_error_code(self) -> int:
        return self._code

    def get_error_message(self) -> str:
        return "foreign sentence"

    def get_int1(self) -> int:
        return self._number


class FakeDomain:
    def name(self) -> str:
        return "web"


class FakeLibvirt:
    """What a connection is asked for besides the call itself."""

    def __init__(self) -> None:
        self.alive = True
        self.opened = 0

    def open(self, _uri: str) -> libvirt.virConnect:
        self.opened += 1
        return cast("libvirt.virConnect", self)

    def getLibVersion(self) -> int:  # noqa: N802  libvirt's name
        if not self.alive:
            raise Failure(libvirt.VIR_ERR_SYSTEM_ERROR)
        return 9_000_000

    def isAlive(self) -> int:  # noqa: N802  libvirt's name
        return int(self.alive)

    def lookupByUUIDString(self, _uuid: str) -> Any:  # noqa: N802  libvirt's name
        return FakeDomain()


@pytest.fixture
def fake() -> FakeLibvirt:
    return FakeLibvirt()


@pytest.fixture
def connection(fake: FakeLibvirt) -> Connection:
    return Connection("test:///x", timeout_s=0.2, open_uri=fake.open)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def _raising(error: Exception) -> Callable[[object], None]:
    def function(_: object) -> None:
        raise error

    return function


def test_a_call_that_hangs_is_given_up(connection: Connection, release: threading.Event) -> None:
    with pytest.raises(HypervisorTimeout, match=r"begin for web within 0\.2 s"):
        connection.call("begin", lambda _: release.wait(), server="web")


def test_a_call_may_have_a_longer_limit(connection: Connection, release: threading.Event) -> None:
    threading.Timer(0.4, release.set).start()

    assert connection.call("start", lambda _: release.wait(), timeout_s=10)


def test_a_call_that_hangs_is_left_when_somebody_cancels(
    connection: Connection, release: threading.Event
) -> None:
    with pytest.raises(OperationCancelled):
        connection.call("ask", lambda _: release.wait(), timeout_s=60, cancelled=lambda: True)

    assert connection.call("look", lambda _: 1, timeout_s=60, cancelled=lambda: False) == 1


def test_hung_calls_do_not_pile_up_without_end(
    connection: Connection, release: threading.Event
) -> None:
    started = []

    def hang(_: object) -> None:
        started.append(1)
        release.wait()

    def call() -> None:
        with pytest.raises(HypervisorTimeout):
            connection.call("x", hang)

    callers = [threading.Thread(target=call) for _ in range(40)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert len(started) == 32


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, ServerNotFound),
        (libvirt.VIR_ERR_ACCESS_DENIED, HypervisorDenied),
        (libvirt.VIR_ERR_OPERATION_DENIED, HypervisorDenied),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, DriverFailed),
        (libvirt.VIR_ERR_SYSTEM_ERROR, DriverFailed),
    ],
)
def test_an_error_of_a_call_becomes_ours(
    connection: Connection, code: int, expected: type[CsbsError]
) -> None:
    with pytest.raises(expected):
        connection.on_domain(SERVER, "looking", _raising(Failure(code)))


def test_an_error_names_the_server_and_what_was_done(connection: Connection) -> None:
    error = Failure(libvirt.VIR_ERR_SYSTEM_ERROR)

    with pytest.raises(DriverFailed, match="looking failed for server web: foreign sentence"):
        connection.on_domain(SERVER, "looking", _raising(error))


def test_errors_of_ours_pass_through(connection: Connection) -> None:
    ours = DriverFailed("web", "vda", "x", "y")

    with pytest.raises(DriverFailed) as raised:
        connection.call("x", _raising(ours))

    assert raised.value is ours


def test_a_connection_that_broke_in_a_call_is_unavailable(
    connection: Connection, fake: FakeLibvirt
) -> None:
    def break_off(_: object) -> None:
        fake.alive = False
        raise Failure(libvirt.VIR_ERR_SYSTEM_ERROR)

    with pytest.raises(HypervisorUnavailable):
        connection.on_domain(SERVER, "looking", break_off)


def test_a_libvirtd_that_was_restarted_is_connected_anew(
    connection: Connection, fake: FakeLibvirt
) -> None:
    connection.call("first", lambda _: None)
    connection.call("second", lambda _: None)
    assert fake.opened == 1
    fake.alive = False

    connection.call("third", lambda _: None)

    assert fake.opened == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Failure(libvirt.VIR_ERR_SYSTEM_ERROR, number=errno.EACCES), HypervisorDenied),
        (Failure(libvirt.VIR_ERR_AUTH_UNAVAILABLE), HypervisorDenied),
        (Failure(libvirt.VIR_ERR_SYSTEM_ERROR, number=errno.ENOENT), HypervisorUnavailable),
        (Failure(libvirt.VIR_ERR_SYSTEM_ERROR, number=errno.ECONNREFUSED), HypervisorUnavailable),
    ],
)
def test_an_error_of_the_connection_becomes_ours(error: Failure, expected: type[CsbsError]) -> None:
    connection = Connection("test:///x", open_uri=_raising(error))  # type: ignore[arg-type]  # raises

    with pytest.raises(expected):
        connection.call("looking", lambda _: None)


def test_host_checks_tell_of_a_hypervisor_that_hangs(release: threading.Event) -> None:
    def hang(_: str) -> libvirt.virConnect:
        release.wait()
        raise AssertionError

    driver = LibvirtDriver(
        "test:///x",
        run_folder=Path("/run"),
        scratch_folder=Path("/run"),
        options=DriverOptions(call_timeout_s=0.1, open_uri=hang),
    )

    failed = [check for check in driver.host_checks() if not check.ok]

    assert [check.name for check in failed] == ["libvirt"]
    assert "within 0.1 s" in failed[0].found

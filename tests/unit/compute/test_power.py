"""Stopping: the guest agent, then the power button, then force, within one limit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from csbs.compute.base import never
from csbs.compute.libvirt.binding import libvirt
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.power import Power
from csbs.domain.errors import (
    OperationCancelled,
    ServerStartFailed,
    ServerStateRefused,
    ServerStopFailed,
)
from csbs.domain.ids import ServerId

SERVER = ServerId("s")


@dataclass
class FakeClock:
    """Time passes by sleeping alone."""

    now_s: float = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


@dataclass
class FakeDomain:
    """Stops at the first of the requests that it obeys; refuses those in `refuses`."""

    obeys: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    active: bool = True
    paused: bool = False
    persistent: bool = True
    asked: list[str] = field(default_factory=list)

    def name(self) -> str:
        return "web"

    def isActive(self) -> bool:  # noqa: N802  libvirt's name
        return self.active

    def isPersistent(self) -> bool:  # noqa: N802  libvirt's name
        return self.persistent

    def state(self) -> list[int]:
        return [libvirt.VIR_DOMAIN_PAUSED if self.paused else libvirt.VIR_DOMAIN_RUNNING, 0]

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802  libvirt's name
        return "<domain><devices/></domain>"

    def shutdownFlags(self, _flags: int) -> None:  # noqa: N802  libvirt's name
        self._ask("acpi")

    def destroyFlags(self, flags: int) -> None:  # noqa: N802  libvirt's name
        graceful = flags == libvirt.VIR_DOMAIN_DESTROY_GRACEFUL
        self._ask("graceful" if graceful else "kill")

    def create(self) -> None:
        self._ask("create")
        self.active = True

    def _ask(self, request: str) -> None:
        self.asked.append(request)
        if request in self.refuses:
            raise libvirt.libvirtError("refused by the test")
        if request in self.obeys:
            self.active = False


@dataclass
class FakeLibvirt:
    """A host with one domain."""

    domain: FakeDomain

    def getLibVersion(self) -> int:  # noqa: N802  libvirt's name
        return 9_000_000

    def isAlive(self) -> int:  # noqa: N802  libvirt's name
        return 1

    def lookupByUUIDString(self, _uuid: str) -> FakeDomain:  # noqa: N802  libvirt's name
        return self.domain


def _power(domain: FakeDomain, clock: FakeClock) -> Power:
    connection = Connection(
        "test:///x", open_uri=lambda _: cast("libvirt.virConnect", FakeLibvirt(domain))
    )
    return Power(connection, monotonic=clock.monotonic, sleep=clock.sleep)


@pytest.mark.parametrize(
    ("domain", "how", "asked"),
    [
        pytest.param(FakeDomain(active=False), "already stopped", [], id="stopped"),
        pytest.param(FakeDomain(obeys={"acpi"}), "acpi", ["acpi"], id="obeys the button"),
        pytest.param(
            FakeDomain(obeys={"graceful"}), "forced", ["acpi", "graceful"], id="hears no button"
        ),
        pytest.param(
            FakeDomain(refuses={"acpi"}, obeys={"graceful"}),
            "forced",
            ["acpi", "graceful"],
            id="has no button",
        ),
        pytest.param(
            FakeDomain(refuses={"graceful"}, obeys={"kill"}),
            "forced",
            ["acpi", "graceful", "kill"],
            id="hangs",
        ),
        pytest.param(
            FakeDomain(paused=True, obeys={"graceful"}), "forced", ["graceful"], id="paused"
        ),
    ],
)
def test_a_stop_takes_the_softest_way_that_works(
    domain: FakeDomain, how: str, asked: list[str]
) -> None:
    clock = FakeClock()

    assert _power(domain, clock).stop(SERVER, timeout_s=30, cancelled=never) == how

    assert domain.asked == asked
    assert not domain.active


def test_a_stop_waits_no_longer_than_its_limit() -> None:
    clock = FakeClock()

    _power(FakeDomain(obeys={"graceful"}), clock).stop(SERVER, timeout_s=30, cancelled=never)

    assert clock.now_s == pytest.approx(30)


@pytest.mark.parametrize("refuses", [set(), {"kill"}], ids=["runs on", "cannot be killed"])
def test_a_server_that_survives_everything_is_an_error(refuses: set[str]) -> None:
    domain = FakeDomain(refuses=refuses)

    with pytest.raises(ServerStopFailed):
        _power(domain, FakeClock()).stop(SERVER, timeout_s=1, cancelled=never)

    assert domain.asked == ["acpi", "graceful", "kill"]


def test_a_server_without_a_definition_is_not_stopped() -> None:
    domain = FakeDomain(persistent=False)

    with pytest.raises(ServerStateRefused, match="transient"):
        _power(domain, FakeClock()).stop(SERVER, timeout_s=1, cancelled=never)

    assert domain.asked == []


def test_a_start_that_fails_says_why() -> None:
    domain = FakeDomain(active=False, refuses={"create"})

    with pytest.raises(ServerStartFailed, match="web could not be started: refused by the test"):
        _power(domain, FakeClock()).start(SERVER)


def test_a_server_that_runs_is_not_started_again() -> None:
    domain = FakeDomain()

    _power(domain, FakeClock()).start(SERVER)

    assert domain.asked == []


def test_a_cancelled_stop_forces_nothing() -> None:
    domain = FakeDomain()
    with pytest.raises(OperationCancelled):
        _power(domain, FakeClock()).stop(SERVER, timeout_s=30, cancelled=lambda: True)

    assert domain.asked == ["acpi"]
    assert domain.active

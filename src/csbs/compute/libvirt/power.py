"""Stopping and starting servers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from csbs.compute.libvirt.binding import libvirt, libvirt_qemu
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.domain_xml import parse_domain
from csbs.domain.clock import Monotonic, Sleep
from csbs.domain.errors import (
    DriverFailed,
    HypervisorTimeout,
    OperationCancelled,
    ServerStartFailed,
    ServerStateRefused,
    ServerStopFailed,
)
from csbs.domain.ids import ServerId

log = logging.getLogger(__name__)

#: libvirt may look at QEMU's abilities first, and a slow storage opens its images slowly.
_START_TIMEOUT_S = 180.0
_AGENT_TIMEOUT_S = 5
_POLL_INTERVAL_S = 0.2
#: What the agent may take of the whole time, before the power button is pressed too.
_AGENT_SHARE = 0.6


class Power:
    """Stops and starts the servers behind one connection."""

    def __init__(self, connection: Connection, *, monotonic: Monotonic, sleep: Sleep) -> None:
        self._connection = connection
        self._monotonic = monotonic
        self._sleep = sleep

    def stop(self, server_id: ServerId, *, timeout_s: float, cancelled: Callable[[], bool]) -> str:
        """See `ComputeDriver.stop`."""
        if not self._is_active(server_id):
            return "already stopped"
        self._connection.on_domain(server_id, "stopping", _refuse_transient)
        end = self._monotonic() + timeout_s
        if self._asked(server_id, "asking the guest agent to shut down", _shut_down_by_agent):
            agent_end = end - (1 - _AGENT_SHARE) * timeout_s
            if self._has_stopped(server_id, agent_end, cancelled):
                return "agent"
        pressed = self._asked(server_id, "pressing the power button", _shut_down_by_acpi)
        if pressed and self._has_stopped(server_id, end, cancelled):
            return "acpi"
        self._force(server_id)
        return "forced"

    def start(self, server_id: ServerId) -> None:
        """See `ComputeDriver.start`."""
        self._connection.on_domain(server_id, "starting", _start, timeout_s=_START_TIMEOUT_S)

    def _force(self, server_id: ServerId) -> None:
        if self._asked(server_id, "forcing it off", _destroy_gracefully):
            return
        try:
            self._connection.on_domain(server_id, "killing it", _destroy)
        except DriverFailed as error:
            raise ServerStopFailed(server_id, error.why) from error
        if self._is_active(server_id):
            raise ServerStopFailed(server_id, "it runs on after it was killed")

    def _asked(
        self, server_id: ServerId, doing: str, ask: Callable[[libvirt.virDomain], bool]
    ) -> bool:
        """Whether a request was taken; one that fails makes way for the next, harder one."""
        try:
            return self._connection.on_domain(server_id, doing, ask)
        except (DriverFailed, HypervisorTimeout) as error:
            log.info("a stop was not taken", extra={"server_id": server_id, "why": str(error)})
            return False

    def _has_stopped(self, server_id: ServerId, end: float, cancelled: Callable[[], bool]) -> bool:
        while self._is_active(server_id):
            if cancelled():
                raise OperationCancelled("stopping the server")
            left_s = end - self._monotonic()
            if left_s <= 0:
                return False
            self._sleep(min(_POLL_INTERVAL_S, left_s))
        return True

    def _is_active(self, server_id: ServerId) -> bool:
        return self._connection.on_domain(
            server_id, "looking at the state", lambda domain: bool(domain.isActive())
        )


def _refuse_transient(domain: libvirt.virDomain) -> None:
    if not domain.isPersistent():
        raise ServerStateRefused(
            domain.name(), "transient", "stopping it (its definition would be gone)"
        )


def _shut_down_by_agent(domain: libvirt.virDomain) -> bool:
    if _is_paused(domain) or not parse_domain(domain.XMLDesc(0)).has_agent:
        return False
    libvirt_qemu.qemuAgentCommand(domain, '{"execute": "guest-ping"}', _AGENT_TIMEOUT_S, 0)
    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
    return True


def _shut_down_by_acpi(domain: libvirt.virDomain) -> bool:
    if not domain.isActive() or _is_paused(domain):
        return not domain.isActive()
    domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
    return True


def _is_paused(domain: libvirt.virDomain) -> bool:
    """A paused guest cannot shut itself down: waiting for it would be in vain."""
    return domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED


def _destroy_gracefully(domain: libvirt.virDomain) -> bool:
    """Ends QEMU by a signal that lets it flush and close its images."""
    if domain.isActive():
        domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
    return not domain.isActive()


def _destroy(domain: libvirt.virDomain) -> None:
    if domain.isActive():
        domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_DEFAULT)


def _start(domain: libvirt.virDomain) -> None:
    if domain.isActive():
        return
    try:
        domain.create()
    except libvirt.libvirtError as error:
        why = " ".join((error.get_error_message() or str(error)).split())
        raise ServerStartFailed(domain.name(), why) from error

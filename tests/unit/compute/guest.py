"""A made-up running server with a guest agent, as libvirt's bindings show it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import pytest

from csbs.compute.libvirt.binding import libvirt, libvirt_qemu
from csbs.compute.libvirt.connection import Connection
from csbs.domain.errors import DriverFailed, OperationCancelled, ServerNotFound
from csbs.domain.ids import ServerId

T = TypeVar("T")

SERVER = ServerId("web-id")
COMMANDS = ("guest-exec", "guest-exec-status", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw")
CHANNEL = (
    "<domain><devices><channel><target name='org.qemu.guest_agent.0'/></channel></devices></domain>"
)


@dataclass
class FakeClock:
    """Time passes by sleeping, and by what the tests let it cost."""

    now_s: float = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


@dataclass
class FakeGuest:
    """The server; `asked` has what its agent was asked for."""

    run_id: int = 7
    xml: str = CHANNEL
    commands: tuple[str, ...] = COMMANDS
    file_systems: int = 2
    #: Commands that fail, with the reason.
    fails: dict[str, str] = field(default_factory=dict)
    undefined: bool = False
    frozen: bool = False
    asked: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    #: Backup job: the XML of one that runs.
    job_xml: str | None = None
    used_bytes: int = 0
    state_and_reason: list[int] = field(default_factory=lambda: [1, 1])
    #: Is called at each look at the job.
    on_look: Callable[[], None] = lambda: None
    #: Is called when the agent has thawed.
    on_thaw: Callable[[], None] = lambda: None
    #: Is called at each request to the agent.
    on_ask: Callable[[], None] = lambda: None

    # --- libvirt's names -----------------------------------------------------------------------

    def ID(self) -> int:  # noqa: N802  libvirt's name
        return self.run_id

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802  libvirt's name
        return self.xml

    def isActive(self) -> bool:  # noqa: N802  libvirt's name
        return self.run_id != -1

    def state(self) -> list[int]:
        return self.state_and_reason

    def backupGetXMLDesc(self) -> str:  # noqa: N802  libvirt's name
        self.on_look()
        if self.job_xml is None:
            error = libvirt.libvirtError("no job")
            fields = (libvirt.VIR_ERR_NO_DOMAIN_BACKUP, 0, "no job", 0, "", None, None, 0, 0)
            vars(error)["err"] = fields
            raise error
        return self.job_xml

    def jobStats(self) -> dict[str, int]:  # noqa: N802  libvirt's name
        return {"disk_temp_used": self.used_bytes}

    def abortJob(self) -> None:  # noqa: N802  libvirt's name
        self.asked.append("abort")
        self.job_xml = None

    def resume(self) -> None:
        self.asked.append("resume")
        self.state_and_reason = [1, 1]

    # --- the agent ----------------------------------------------------------------------------

    def answer(self, request: str) -> str:
        """What the agent answers."""
        command = json.loads(request)["execute"]
        self.asked.append(command)
        self.on_ask()
        if command in self.fails:
            raise DriverFailed("web", "", command, self.fails[command])
        return json.dumps({"return": self._answer(command, json.loads(request))})

    def _answer(self, command: str, request: dict[str, Any]) -> Any:
        if command == "guest-info":
            return {"supported_commands": [{"name": n, "enabled": True} for n in self.commands]}
        if command == "guest-exec":
            self.scripts.append(request["arguments"]["arg"][1])
            return {"pid": 1}
        if command == "guest-exec-status":
            out = base64.b64encode(b"31\n").decode()
            return {"exited": True, "exitcode": 0, "out-data": out}
        was_frozen, self.frozen = self.frozen, command == "guest-fsfreeze-freeze"
        if command == "guest-fsfreeze-thaw":
            self.on_thaw()
        return self.file_systems if self.frozen or was_frozen else 0


class FakeConnection:
    """A host with that server."""

    def __init__(self, guest: FakeGuest, patch: pytest.MonkeyPatch) -> None:
        self._guest = guest
        patch.setattr(
            libvirt_qemu,
            "qemuAgentCommand",
            lambda domain, text, _timeout, _flags: domain.answer(text),
        )

    def on_domain(
        self,
        _server_id: ServerId,
        doing: str,
        function: Callable[[FakeGuest], T],
        *,
        timeout_s: float | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> T:
        del timeout_s
        if cancelled is not None and cancelled():
            raise OperationCancelled(doing)
        if self._guest.undefined:
            raise ServerNotFound("web")
        return function(self._guest)


def connect(guest: FakeGuest, patch: pytest.MonkeyPatch) -> Connection:
    """A connection to the made-up host."""
    return cast("Connection", FakeConnection(guest, patch))

"""The guest agent (qemu-ga) of one running server."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from csbs.compute.libvirt.binding import libvirt, libvirt_qemu
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.domain_xml import parse_domain
from csbs.domain.clock import Monotonic, Sleep, monotonic, sleep
from csbs.domain.errors import CsbsError, GuestAgentFailed, OperationCancelled
from csbs.domain.ids import ServerId

#: libvirt itself waits 5 s for a sign of life before each command.
_SYNC_TIMEOUT_S = 5.0
_MARGIN_S = 1.0
_POLL_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestAgent:
    """Asks the agent; every failure is a `GuestAgentFailed`, but for a cancel."""

    connection: Connection
    server_id: ServerId
    monotonic: Monotonic = field(default=monotonic)
    sleep: Sleep = field(default=sleep)

    def ask(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        *,
        timeout_s: float = 5.0,
        cancelled: Callable[[], bool] | None = None,
    ) -> Any:
        """The agent's answer, which may take `timeout_s`.

        Raises `OperationCancelled` soon after `cancelled`: only for what may happen all the same.
        """
        request: dict[str, Any] = {"execute": command}
        if arguments is not None:
            request["arguments"] = arguments

        def ask(domain: libvirt.virDomain) -> str:
            text = json.dumps(request)
            return libvirt_qemu.qemuAgentCommand(domain, text, math.ceil(timeout_s), 0)

        try:
            answer = self.connection.on_domain(
                self.server_id,
                command,
                ask,
                timeout_s=timeout_s + _SYNC_TIMEOUT_S + _MARGIN_S,
                cancelled=cancelled,
            )
        except OperationCancelled:
            raise
        except CsbsError as error:
            raise GuestAgentFailed(self.server_id, str(error)) from error
        return json.loads(answer)["return"]

    def require(self, *commands: str, cancelled: Callable[[], bool] | None = None) -> None:
        """Raises `GuestAgentFailed` if there is no agent, or it may not do one of these."""
        has_agent = self.connection.on_domain(
            self.server_id,
            "looking for a guest agent",
            lambda domain: parse_domain(domain.XMLDesc(0)).has_agent,
        )
        if not has_agent:
            raise GuestAgentFailed(self.server_id, "the server has no guest agent")
        supported = self.ask("guest-info", cancelled=cancelled)["supported_commands"]
        allowed = {each["name"] for each in supported if each["enabled"]}
        for command in commands:
            if command not in allowed:
                raise GuestAgentFailed(self.server_id, f"the guest agent does not allow {command}")

    def run(self, script: str, *, timeout_s: float) -> str:
        """What a shell script prints that root runs in the guest; it may take `timeout_s`."""
        request = {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}
        process = self.ask("guest-exec", request)["pid"]
        end = self.monotonic() + timeout_s
        while not (status := self.ask("guest-exec-status", {"pid": process}))["exited"]:
            if self.monotonic() > end:
                raise GuestAgentFailed(
                    self.server_id, f"a script in the guest has not ended within {timeout_s:g} s"
                )
            self.sleep(_POLL_INTERVAL_S)
        if status.get("exitcode") != 0:
            why = " ".join(_text(status, "err-data").split()) or "a script failed in the guest"
            raise GuestAgentFailed(self.server_id, why)
        return _text(status, "out-data")


def _text(status: dict[str, Any], stream: str) -> str:
    return base64.b64decode(status.get(stream, "")).decode(errors="replace")

"""Commands inside the guest, by its agent."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from csbs.blockio.processes import run_tool, shown
from csbs.domain.clock import Monotonic, Sleep, monotonic, sleep
from csbs.domain.errors import ToolFailed

_AGENT = "qemu-guest-agent"
#: One request to the agent; without KVM a busy guest takes its time.
_ANSWER_TIMEOUT_S = 30.0
_POLL_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestShell:
    """Runs shell scripts as root inside a libvirt domain."""

    domain: str
    uri: str
    monotonic: Monotonic = field(default=monotonic)
    sleep: Sleep = field(default=sleep)

    def wait_until_ready(self, *, timeout_s: float) -> float:
        """Waits until the agent answers, and returns how many seconds that took.

        Raises `ToolFailed` with the last refusal if it does not within `timeout_s`.
        """
        began = self.monotonic()
        while True:
            try:
                self._ask("guest-ping")
            except ToolFailed:
                if self.monotonic() - began > timeout_s:
                    raise
                self.sleep(_POLL_INTERVAL_S)
            else:
                return self.monotonic() - began

    def run(self, script: str, *, timeout_s: float = 60.0) -> str:
        """Runs `script` by /bin/sh and returns what it printed.

        Raises `ToolFailed` with its error text if it fails or does not end within `timeout_s`
        (then it goes on inside the guest).
        """
        doing = f"running in {self.domain}: {script.strip().splitlines()[0]}"
        request = {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}
        process = self._ask("guest-exec", request)["pid"]
        end = self.monotonic() + timeout_s
        while not (status := self._ask("guest-exec-status", {"pid": process}))["exited"]:
            if self.monotonic() > end:
                raise ToolFailed("sh", doing, f"no end within {timeout_s:g} s")
            self.sleep(_POLL_INTERVAL_S)
        if status.get("exitcode") != 0:
            raise ToolFailed("sh", doing, shown(_text(status, "err-data")) or str(status))
        return _text(status, "out-data")

    def _ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        request: dict[str, Any] = {"execute": command}
        if arguments is not None:
            request["arguments"] = arguments
        answer = run_tool(
            [
                *("virsh", "-c", self.uri, "qemu-agent-command", self.domain),
                *("--timeout", f"{_ANSWER_TIMEOUT_S:.0f}", json.dumps(request)),
            ],
            doing=f"asking {_AGENT} of {self.domain} for {command}",
            timeout_s=_ANSWER_TIMEOUT_S + 10,
        )
        return json.loads(answer)["return"]


def _text(status: dict[str, Any], stream: str) -> str:
    return base64.b64decode(status.get(stream, "")).decode(errors="replace")

"""The service as a process that a test kills, and a client that bears that."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.config import Settings
from csbs.domain.clock import monotonic, sleep
from csbs.testing.live_api import ADMIN_PASSWORD

_END_MAX_S = 90.0
_LOOK_INTERVAL_S = 0.1
_PATTERN = (
    "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nRRULE:FREQ=DAILY;BYHOUR=2;BYMINUTE=30\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
)


class ServiceProcess:
    """`csbs serve`, or nothing."""

    def __init__(self, command: list[str], settings: Settings, log: Path) -> None:
        self._command = command
        self._environment = _environment(settings)
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def begin_start(self) -> None:
        """Returns at once."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def start(self) -> None:
        """Returns when it listens."""
        self.begin_start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Returns when it listens."""
        process = self._now()
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"listens on (\S+)", line)
            if found:
                self.url = found[1]
                return
        raise AssertionError(f"the service ends at its start: {self.said()[-3000:]}")

    def said(self) -> str:
        """Its log, of all lives."""
        return self._log.read_text("utf-8")

    def signal(self, signum: signal.Signals) -> None:
        """Sends it a signal."""
        self._now().send_signal(signum)

    def kill(self) -> None:
        """As a power cut would; fine if it does not run."""
        if self._process is not None:
            self._process.kill()
            self.wait()

    def wait(self, timeout_s: float = _END_MAX_S) -> int:
        """Its exit code, once it has ended."""
        process = self._now()
        code = process.wait(timeout_s)
        assert process.stdout is not None
        process.stdout.close()
        self._process = None
        return code

    def _now(self) -> subprocess.Popen[str]:
        assert self._process is not None, "it was started"
        return self._process


class Client:
    """Of project `local`, as the administrator."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=30)
        user = {"name": "admin", "password": ADMIN_PASSWORD, "domain": {"name": "Default"}}
        scope = {"project": {"name": "local", "domain": {"name": "Default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        answer = self._client.post(
            "/v3/auth/tokens", json={"auth": {"identity": identity, "scope": scope}}
        )
        assert answer.status_code == 201, answer.text
        self._client.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        self.project_id: str = answer.json()["token"]["project"]["id"]

    def close(self) -> None:
        """Ends its connections."""
        self._client.close()

    def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        """A call of our own API, below the project."""
        url = f"/native/v1/projects/{self.project_id}{path}"
        return self._client.request(method, url, json=body)

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks, oldest first."""
        return self._all("tasks")

    def backups(self) -> list[dict[str, Any]]:
        """All backups, oldest first."""
        return self._all("backups")

    def _all(self, kind: str) -> list[dict[str, Any]]:
        """All of a list, page by page."""
        found: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            query = urlencode({"after": after})
            page = self.call("GET", f"/{kind}?{query}").json()
            found += page[kind]
            after = page["next"]
        return found

    def open_tasks(self) -> list[dict[str, Any]]:
        """Those that have not ended."""
        return [each for each in self.tasks() if each["state"] in {"waiting", "running"}]

    def wait_until_ended(self, timeout_s: float = _END_MAX_S) -> None:
        """Until no task is open."""
        wait_for(lambda: not self.open_tasks(), "all tasks have ended", timeout_s)

    def make_policy(self, servers: list[str]) -> str:
        """The id of a new policy of these servers."""
        resources = [{"id": each, "type": "OS::Nova::Server", "name": each} for each in servers]
        definition = {"max_backups": 20, "retention_duration_days": -1, "permanent": False}
        operation = {
            "name": "daily",
            "enabled": True,
            "operation_type": "backup",
            "operation_definition": definition,
            "trigger": {"properties": {"pattern": _PATTERN}},
        }
        policy = {
            "name": "p",
            "description": "",
            "provider_id": PROVIDER_ID,
            "parameters": {"common": {}},
            "resources": resources,
            "scheduled_operations": [operation],
        }
        answer = self._client.post(f"/v1/{self.project_id}/policies", json={"policy": policy})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["policy"]["id"])

    def run_policy(self, policy_id: str) -> httpx.Response:
        """Runs it now."""
        url = f"/v1/{self.project_id}/providers/{PROVIDER_ID}/checkpoints"
        return self._client.post(url, json={"checkpoint": {"plan_id": policy_id}})


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = _END_MAX_S) -> None:
    """Until that holds; looks often."""
    end = monotonic() + timeout_s
    while not condition():
        assert monotonic() < end, f"not within {timeout_s:g} s: {what}"
        sleep(_LOOK_INTERVAL_S)


def _environment(settings: Settings) -> dict[str, str]:
    given = settings.model_dump(exclude_defaults=True, mode="json")
    own = {f"CSBS_{name.upper()}": str(value) for name, value in given.items()}
    return (
        os.environ
        | own
        | {
            "CSBS_BOOTSTRAP_PASSWORD": ADMIN_PASSWORD,
            "CSBS_LISTEN": "127.0.0.1:0",
        }
    )

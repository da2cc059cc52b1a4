"""The real service on a real socket, in a thread of a test, over a fake driver.

with live_api(tmp_path) as api:
    token = api.log_in()
    answer = api.client.get("/v3/projects", headers={"X-Auth-Token": token})
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx

from csbs.config import Settings
from csbs.domain.ids import ProjectId
from csbs.service import Service, Substitutes, open_service
from csbs.services.region import Region
from csbs.serving import make_server
from csbs.testing.fake_driver import FakeDriver
from csbs.testing.faults import Faults
from csbs.workflows.runner import Execute, Runner
from csbs.workflows.thread_runner import ThreadRunner

ADMIN_PASSWORD = "admin-password"  # noqa: S105  of services that live as long as a test
_READY_MAX_S = 30.0
_IDLE_MAX_S = 60.0


class FastHasher:
    """Hashes nothing: argon2 would make each login of a test slow."""

    def hash(self, password: str) -> str:
        """Readable."""
        return f"plain:{password}"

    def verify(self, hash: str, password: str) -> bool:  # noqa: A002  the name in argon2
        """Whether it is the password."""
        return hash == f"plain:{password}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveApi:
    """A service that runs."""

    #: `http://127.0.0.1:<port>`.
    url: str
    client: httpx.Client
    driver: FakeDriver
    service: Service
    settings: Settings

    @property
    def region(self) -> Region:
        """What the service offers, without HTTP."""
        return self.service.region

    @property
    def project_id(self) -> str:
        """Of project `local`."""
        return self.region.projects.find("local").id

    def wait_until_idle(self) -> None:
        """Waits until no task of project `local` is open: until then backups still change."""
        end = time.monotonic() + _IDLE_MAX_S
        app = self.region.project_app(ProjectId(self.project_id))
        while app.executor.open_tasks():
            assert time.monotonic() < end, "tasks are still open"

    def log_in(
        self, name: str = "admin", password: str = ADMIN_PASSWORD, project: str | None = "local"
    ) -> str:
        """A token of the user for the project; None: unscoped."""
        user = {"name": name, "password": password, "domain": {"name": "Default"}}
        auth: dict[str, object] = {
            "identity": {"methods": ["password"], "password": {"user": user}}
        }
        if project is not None:
            auth["scope"] = {"project": {"name": project, "domain": {"name": "Default"}}}
        answer = self.client.post("/v3/auth/tokens", json={"auth": auth})
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def as_user(self, name: str = "admin", password: str = ADMIN_PASSWORD) -> httpx.Client:
        """A client that sends a token of the user, for project `local`; close it."""
        token = self.log_in(name, password)
        return httpx.Client(base_url=self.url, headers={"X-Auth-Token": token})


@contextmanager
def live_api(folder: Path, **settings: object) -> Iterator[LiveApi]:
    """The service over a data folder in `folder`, with these settings, until the body ends."""
    chosen = Settings.model_validate(
        {
            "data_dir": folder / "data",
            "run_dir": folder / "run",
            "scratch_dir": folder / "scratch",
            "bootstrap_password": ADMIN_PASSWORD,
        }
        | settings
    )
    driver = FakeDriver(folder / "host", new_id=lambda: str(uuid4()), faults=Faults())
    substitutes = Substitutes(driver=driver, hasher=FastHasher(), make_runner=_threads)
    with (
        open_service(chosen, substitutes) as service,
        served(service, chosen) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield LiveApi(url=url, client=client, driver=driver, service=service, settings=chosen)


def _threads(execute: Execute) -> Runner:
    """A process may have several of these, and but one on DBOS."""
    return ThreadRunner(execute, tasks_max=2)


@contextmanager
def served(service: Service, settings: Settings) -> Iterator[str]:
    """The address of the service, which runs in a thread until the body ends."""
    ready = threading.Event()
    server = make_server(service, settings, ready.set)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), name="live api")
        thread.start()
        try:
            assert ready.wait(_READY_MAX_S), "the service does not get ready"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

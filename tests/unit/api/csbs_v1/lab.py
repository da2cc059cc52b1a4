"""The API of CSBS over servers that only can be looked at, and tasks that a test ends itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import httpx

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.app import host_of, open_home
from csbs.catalog import Catalog, backups, tasks
from csbs.catalog.tasks import TaskOutcome
from csbs.compute.base import ComputeDriver
from csbs.config import Settings
from csbs.domain.backup import Backup, BackupState, FailedOperation
from csbs.domain.clock import random_bytes
from csbs.domain.errors import CsbsError, DriverFailed
from csbs.domain.ids import ProjectId
from csbs.domain.task import Task, TaskKind, TaskState
from csbs.domain.tenancy import Role
from csbs.service import Service, make_region
from csbs.services.bootstrap import bootstrap
from csbs.services.passwords import Passwords
from csbs.services.project_app import App
from csbs.services.region import Region
from csbs.testing.live_api import ADMIN_PASSWORD, FastHasher, served
from csbs.testing.still_driver import StillDriver

PROVIDER = f"/providers/{PROVIDER_ID}"
WEB = "11111111-1111-4111-8111-111111111111"
DATABASE = "22222222-2222-4222-8222-222222222222"
#: A server of nobody.
UNKNOWN = "99999999-9999-4999-8999-999999999999"
PATTERN = (
    "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nRRULE:FREQ=DAILY;INTERVAL=1;BYHOUR=2,14;BYMINUTE=30\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
)
PASSWORD = "member-password"  # noqa: S105  of users that live as long as a test


class HeldRunner:
    """See `TaskRunner`; holds tasks until the test says how they end."""

    def __init__(self) -> None:
        self.held: list[Task] = []

    def start(self, task: Task) -> None:
        self.held.append(task)

    def cancel(self, task: Task) -> None:
        """Nothing is at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who calls the API, for the project in `base`."""

    client: httpx.Client
    headers: dict[str, str]
    base: str

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        more.setdefault("headers", self.headers)
        if body is not None:
            more["json"] = body
        return self.client.request(method, self.base + path, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None) -> httpx.Response:
        return self.call("POST", path, body)

    def put(self, path: str, body: Any) -> httpx.Response:
        return self.call("PUT", path, body)

    def delete(self, path: str) -> httpx.Response:
        return self.call("DELETE", path)

    def restore(self, item: dict[str, Any], volumes: Any, **more: Any) -> httpx.Response:
        parameters = {
            "checkpoint_item_id": item["id"],
            "power_on": True,
            "targets": {"server_id": item["resource_id"], "volumes": volumes},
        }
        restore = {
            "provider_id": PROVIDER_ID,
            "checkpoint_id": item["checkpoint_id"],
            "parameters": parameters | more,
        }
        return self.post("/restores", {"restore": restore})

    def protect(self, server_id: str, **protect: Any) -> httpx.Response:
        return self.post(f"{PROVIDER}/resources/{server_id}/action", {"protect": protect})


class CsbsLab:
    """Project `local` has two servers, and a member `mia`; `local_other` has `otto`."""

    def __init__(
        self, region: Region, client: httpx.Client, driver: StillDriver, runner: HeldRunner
    ) -> None:
        self.region = region
        self.driver = driver
        self.runner = runner
        self._client = client
        self._make_users(region)
        driver.add_server(WEB, "web")
        driver.add_server(DATABASE, "database")
        self.mia = self.caller("mia", "local")
        self.otto = self.caller("otto", "local_other")

    def _make_users(self, region: Region) -> None:
        if len(region.projects.list_all()) > 1:  # a copy of a data folder that has them
            return
        region.projects.create("local_other")
        for name, project, role in (
            ("mia", "local", Role.MEMBER),
            ("rita", "local", Role.READER),
            ("otto", "local_other", Role.MEMBER),
        ):
            region.users.create(name, PASSWORD)
            region.users.set_role(name, project, role)

    @property
    def project_id(self) -> ProjectId:
        return self.region.projects.find("local").id

    @property
    def app(self) -> App:
        """The use cases of project `local`."""
        return self.region.project_app(self.project_id)

    @property
    def catalog(self) -> Catalog:
        return self.app.tasks.catalog

    def caller(self, name: str, project: str, password: str = PASSWORD) -> Caller:
        user = {"name": name, "password": password, "domain": {"name": "Default"}}
        scope = {"project": {"name": project, "domain": {"name": "Default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        answer = self._client.post(
            "/v3/auth/tokens", json={"auth": {"identity": identity, "scope": scope}}
        )
        token = answer.headers["X-Subject-Token"]
        project_id = self.region.projects.find(project).id
        return Caller(
            client=self._client, headers={"X-Auth-Token": token}, base=f"/v1/{project_id}"
        )

    def admin(self) -> Caller:
        return self.caller("admin", "local", ADMIN_PASSWORD)

    def back_up(self, server_id: str = WEB, **protect: Any) -> dict[str, Any]:
        """A backup that is available, as `checkpoint_item`."""
        checkpoint = self.mia.protect(server_id, **protect).json()["checkpoint"]
        self.finish()
        items = self.mia.get(f"/checkpoint_items?checkpoint_id={checkpoint['id']}").json()
        item: dict[str, Any] = items["checkpoint_items"][0]
        return item

    def finish(self, error: CsbsError | None = None) -> None:
        """Ends all tasks that are held."""
        while self.runner.held:
            self._end(self.runner.held.pop(0), error)

    def fail(self) -> None:
        self.finish(DriverFailed("web", "", "a made-up call", "it was told to fail"))

    def _end(self, task: Task, error: CsbsError | None) -> None:
        now = task.created_at + timedelta(seconds=10)
        with self.catalog.transaction() as transaction:
            tasks.begin(transaction, task.project_id, task.id, at=task.created_at)
            tasks.end(transaction, task.project_id, task.id, _outcome(error, now))
            backup = backups.get(transaction, task.project_id, task.backup_id)
            if task.kind is TaskKind.DELETION and error is None:
                backups.remove(transaction, task.project_id, backup.id)
            else:
                backups.save(transaction, _ended(backup, task, error))


def _outcome(error: CsbsError | None, now: Any) -> TaskOutcome:
    if error is None:
        return TaskOutcome(state=TaskState.DONE, ended_at=now)
    return TaskOutcome(
        state=TaskState.ERROR,
        ended_at=now,
        error_kind=error.kind,
        error_code=type(error).__name__,
        error_message=str(error),
    )


def _ended(backup: Backup, task: Task, error: CsbsError | None) -> Backup:
    mib = 1024**2
    if error is not None:
        operation = {
            TaskKind.BACKUP: FailedOperation.BACKUP,
            TaskKind.RESTORE: FailedOperation.RESTORE,
            TaskKind.DELETION: FailedOperation.DELETE,
        }[task.kind]
        state = BackupState.AVAILABLE if task.kind is TaskKind.RESTORE else BackupState.ERROR
        return replace(backup, state=state).failed(operation, error)
    if task.kind is TaskKind.RESTORE:
        return replace(backup, state=BackupState.AVAILABLE)
    return replace(
        backup,
        state=BackupState.AVAILABLE,
        finished_at=backup.created_at + timedelta(seconds=10),
        stored_bytes=3 * mib,
        disks=tuple(
            replace(
                disk,
                read_bytes=100 * mib,
                changed_bytes=3 * mib + 1,
                nonzero_bytes=3 * mib + 1,
                storage_bytes=3 * mib + 1,
            )
            for disk in backup.disks
        ),
    )


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Each call syncs the catalog; no test here can tell whether that reached a disk."""
    with TemporaryDirectory(prefix="csbs-test-", dir="/dev/shm") as folder:
        yield Path(folder)


@contextmanager
def csbs_lab(folder: Path) -> Iterator[CsbsLab]:
    """The lab over a data folder in `folder`."""
    settings = Settings.model_validate(
        {
            "data_dir": folder / "data",
            "run_dir": folder / "run",
            "scratch_dir": folder / "scratch",
            "bootstrap_password": ADMIN_PASSWORD,
        }
    )
    driver, runner = StillDriver(), HeldRunner()
    # As `csbs.service.open_service` does, without what carries tasks out.
    with open_home(settings, alone=True) as (catalog, home):
        host = host_of(settings, cast("ComputeDriver", driver), runner)
        region = make_region(settings, catalog, home, Passwords(FastHasher()), host)
        bootstrap(region.users, ADMIN_PASSWORD, random_bytes)
        service = Service(region=region, first_administrator=None)
        with (
            served(service, settings) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            yield CsbsLab(region, client, driver, runner)


def is_error(answer: httpx.Response, status: int, code: str) -> bool:
    """Whether it is this refusal, in the shape of the protocol; shows what it is otherwise."""
    body = answer.json()
    assert (answer.status_code, body.get("error_code")) == (status, code), answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert set(body) == {"error_code", "error_msg"}
    sentence = body["error_msg"]
    assert sentence.endswith(".")
    assert len(sentence) <= 512
    for word in ("Traceback", "csbs.", "sqlite", "pydantic", "`csbs", "File "):
        assert word not in sentence
    return True

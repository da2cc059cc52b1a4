"""Wires the service of one region: `csbs.app` for each project, and who may ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from csbs.app import Host, host_of, key_files, make_driver, open_home, removal_of, wired
from csbs.catalog import Catalog, Home, projects
from csbs.compute.base import ComputeDriver
from csbs.config import Settings
from csbs.domain.clock import monotonic, new_id, random_bytes, utc_now
from csbs.domain.ids import ProjectId
from csbs.repository.secret_box import SecretBox
from csbs.services.access_keys import AccessKeyService
from csbs.services.assignments import AssignmentService
from csbs.services.audit import AuditService
from csbs.services.bootstrap import FirstAdministrator, bootstrap
from csbs.services.engine import TaskEngine
from csbs.services.failures import FailureLimit
from csbs.services.identity import IdentityService
from csbs.services.passwords import Hasher, Passwords, argon2
from csbs.services.policies import refuse_bound
from csbs.services.project_app import App
from csbs.services.projects import ProjectService
from csbs.services.region import Region
from csbs.services.replays import Replays
from csbs.services.upkeep import KeepDays, Upkeep
from csbs.services.users import UserService
from csbs.workflows.runner import Execute, Runner

MakeRunner = Callable[[Execute], Runner]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What runs in one process."""

    region: Region
    #: Made at this start; None where there were users.
    first_administrator: FirstAdministrator | None


@contextmanager
def open_service(
    settings: Settings,
    *,
    driver: ComputeDriver | None = None,
    hasher: Hasher | None = None,
    make_runner: MakeRunner | None = None,
) -> Iterator[Service]:
    """The service over the data folder, which no other csbs uses meanwhile.

    Tests give a `driver` of their own, a `hasher` that is fast, and a runner of which a process
    may have several.  Raises what `csbs.app.open_app` raises.
    """
    with open_home(settings, alone=True) as (catalog, home):
        chosen = driver or make_driver(settings)
        upkeep = Upkeep(catalog=catalog, clock=utc_now, keep=_keep_days(settings))

        def keep_up(project_ids: Sequence[ProjectId]) -> None:
            upkeep.prune(project_ids)
            region.projects.finish_deletions()

        engine = TaskEngine(
            make_runner=make_runner or partial(_runner, settings),
            executor_of=lambda project_id: region.project_app(project_id).executor,
            projects=partial(_project_ids, catalog),
            driver=chosen,
            upkeep=keep_up,
        )
        host = host_of(settings, chosen, engine.runner)
        region = make_region(settings, catalog, home, Passwords(hasher or argon2()), host)
        first = bootstrap(region.users, settings.bootstrap_password, random_bytes)
        engine.start()
        try:
            yield Service(region=region, first_administrator=first)
        finally:
            host.jobs.stop()
            engine.stop()


def _runner(settings: Settings, execute: Execute) -> Runner:
    from csbs.workflows.dbos_runner import DbosRunner, sqlite_url  # noqa: PLC0415  loads for long

    url = settings.catalog_url or sqlite_url(settings.data_dir / "workflows.sqlite")
    return DbosRunner(execute, tasks_max=settings.tasks_at_once, database_url=url)


def _keep_days(settings: Settings) -> KeepDays:
    return KeepDays(
        tasks=settings.task_keep_days or None,
        failed_tasks=settings.failed_task_keep_days or None,
        audit=settings.audit_keep_days or None,
    )


def _project_ids(catalog: Catalog) -> list[ProjectId]:
    with catalog.transaction() as transaction:
        return [each.id for each in projects.all_of_region(transaction)]


@contextmanager
def open_region(settings: Settings, driver: ComputeDriver | None = None) -> Iterator[Region]:
    """The same use cases for commands on this machine, which share the data folder.

    Raises what `csbs.app.open_app` raises: `DataFolderBusy` while the service runs.
    """
    with open_home(settings, alone=False) as (catalog, home):
        host = host_of(settings, driver or make_driver(settings))
        yield make_region(settings, catalog, home, Passwords(argon2()), host)


def make_region(
    settings: Settings, catalog: Catalog, home: Home, passwords: Passwords, host: Host
) -> Region:
    """Who may ask, and what for."""
    secrets = SecretBox(key_files(settings), random_bytes)
    return Region(
        name=home.region,
        identity=IdentityService(
            catalog=catalog,
            passwords=passwords,
            failures=FailureLimit(monotonic=monotonic),
            replays=Replays(catalog=catalog, clock=utc_now, monotonic=monotonic),
            secrets=secrets,
            clock=utc_now,
            random_bytes=random_bytes,
            token_lifetime=timedelta(seconds=settings.token_lifetime_s),
        ),
        users=UserService(catalog=catalog, passwords=passwords, clock=utc_now, new_id=new_id),
        projects=ProjectService(
            catalog=catalog,
            clock=utc_now,
            new_id=new_id,
            home_id=home.project_id,
            region=home.region,
            removal_of=partial(removal_of, settings, catalog, home),
        ),
        access_keys=AccessKeyService(
            catalog=catalog, secrets=secrets, clock=utc_now, random_bytes=random_bytes
        ),
        assignments=AssignmentService(
            catalog=catalog,
            driver=host.driver,
            locks=host.locks,
            home_id=home.project_id,
            refuse_tied=refuse_bound,
        ),
        audit=AuditService(catalog=catalog, clock=utc_now),
        project_app=ProjectApps(settings, catalog, home, host).of,
        clock=utc_now,
        new_id=new_id,
    )


@dataclass(frozen=True, slots=True)
class ProjectApps:
    """The use cases of each project, made when they are first asked for."""

    settings: Settings
    catalog: Catalog
    home: Home
    host: Host
    _made: dict[ProjectId, App] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, project_id: ProjectId) -> App:
        """The use cases of the project; the caller knows that it exists."""
        with self._lock:
            if project_id not in self._made:
                home = replace(self.home, project_id=project_id)
                self._made[project_id] = wired(self.settings, self.catalog, home, self.host)
            return self._made[project_id]

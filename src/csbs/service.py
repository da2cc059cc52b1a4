"""Wires the service of one region: `csbs.app` for each project, and who may ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from csbs.app import (
    Host,
    host_of,
    key_files,
    make_driver,
    open_home,
    open_home_alone,
    removal_of,
    wired,
)
from csbs.background import Part, lookout_of, project_ids, rounds_of, scheduler_of, stop_all
from csbs.catalog import Catalog, Home
from csbs.compute.base import ComputeDriver
from csbs.config import Settings
from csbs.domain.clock import Clock, monotonic, new_id, random_bytes, utc_now
from csbs.domain.ids import ProjectId
from csbs.repository.secret_box import SecretBox
from csbs.services.access_keys import AccessKeyService
from csbs.services.assignments import AssignmentService
from csbs.services.audit import AuditService
from csbs.services.bootstrap import FirstAdministrator, bootstrap
from csbs.services.collection import CollectionWaits
from csbs.services.engine import TaskEngine
from csbs.services.failures import FailureLimit
from csbs.services.identity import IdentityService
from csbs.services.passwords import Hasher, Passwords, argon2
from csbs.services.policies import refuse_bound
from csbs.services.project_app import App
from csbs.services.projects import ProjectService
from csbs.services.protection import nobody
from csbs.services.region import Region
from csbs.services.replays import Replays
from csbs.services.repositories import StillHeld
from csbs.services.users import UserService
from csbs.workflows.bounded_runner import BoundedRunner
from csbs.workflows.runner import Execute, Runner

MakeRunner = Callable[[Execute], Runner]


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitutes:
    """What tests put in the place of parts; None: the real one."""

    driver: ComputeDriver | None = None
    #: One that is fast.
    hasher: Hasher | None = None
    #: A runner of which a process may have several.
    make_runner: MakeRunner | None = None
    #: What policies are run by.
    schedule_clock: Clock = utc_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What runs in one process."""

    region: Region
    #: Made at this start; None where there were users.
    first_administrator: FirstAdministrator | None
    #: Raises `LockLost` if another service may have the catalog by now.
    still_alone: StillHeld = lambda: None
    #: Lets the scheduler look at once.
    wake_scheduler: Callable[[], None] = nobody


_REAL = Substitutes()


@contextmanager
def open_service(
    settings: Settings,
    substitutes: Substitutes = _REAL,
    *,
    when_late: Callable[[], None] = nobody,
) -> Iterator[Service]:
    """The service over the data folder, which no other csbs uses meanwhile.

    `when_late` is called at the end, with all locks held, if something is under way that could not
    be broken off in time.  Raises what `csbs.app.open_app` raises.
    """
    with open_home_alone(settings) as (catalog, home, still_alone):
        driver = substitutes.driver or make_driver(settings)
        engine = TaskEngine(
            make_runner=substitutes.make_runner or partial(_runner, settings),
            executor_of=lambda project_id: region.project_app(project_id).executor,
            projects=partial(project_ids, catalog),
            driver=driver,
            stop_wait_s=settings.shutdown_timeout_s,
        )
        scheduler = scheduler_of(settings, catalog, engine.runner, substitutes.schedule_clock)
        lookout = lookout_of(settings, catalog)
        host = replace(host_of(settings, driver, engine.runner), policies_changed=scheduler.wake)
        passwords = Passwords(substitutes.hasher or argon2())
        region = replace(
            make_region(settings, catalog, home, passwords, host), rpo=lambda: lookout.summary
        )
        first = bootstrap(region.users, settings.bootstrap_password, random_bytes)
        engine.start()
        parts: list[Part] = [scheduler, *rounds_of(settings, catalog, region, lookout)]
        for each in parts:
            each.start()
        try:
            yield Service(
                region=region,
                first_administrator=first,
                still_alone=still_alone,
                wake_scheduler=scheduler.wake,
            )
        finally:
            if not stop_all([*parts, host.chores, engine]):
                when_late()


def _runner(settings: Settings, execute: Execute) -> Runner:
    from csbs.workflows.dbos_runner import DbosRunner, sqlite_url  # noqa: PLC0415  loads for long

    url = settings.catalog_url or sqlite_url(settings.data_dir / "workflows.sqlite")
    tasks_max = settings.tasks_at_once

    def durable(bounded: Execute) -> Runner:
        return DbosRunner(bounded, tasks_max=tasks_max, database_url=url, new_id=new_id)

    return BoundedRunner(execute, durable, handed_max=tasks_max)


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
        collections=CollectionWaits(catalog=catalog, clock=utc_now),
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

"""Wires the service of one region: `csbs.app` for each project, and who may ask."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from csbs.app import Host, host_of, key_files, make_driver, open_home, wired
from csbs.catalog import Catalog, Home, projects
from csbs.compute.base import ComputeDriver
from csbs.config import Settings
from csbs.domain.clock import Clock, monotonic, new_id, random_bytes, utc_now
from csbs.domain.errors import CsbsError
from csbs.domain.ids import ProjectId
from csbs.repository.secret_box import SecretBox
from csbs.services.access_keys import AccessKeyService
from csbs.services.assignments import AssignmentService
from csbs.services.audit import AuditService
from csbs.services.bootstrap import FirstAdministrator, bootstrap
from csbs.services.collection import CollectionWaits
from csbs.services.due_runs import DueRuns
from csbs.services.engine import TaskEngine
from csbs.services.expiry import Looks
from csbs.services.failures import FailureLimit
from csbs.services.identity import IdentityService
from csbs.services.passwords import Hasher, Passwords, argon2
from csbs.services.policies import refuse_bound
from csbs.services.project_app import App
from csbs.services.projects import ProjectService
from csbs.services.protection import nobody
from csbs.services.region import Region
from csbs.services.replays import Replays
from csbs.services.rounds import Rounds
from csbs.services.scheduler import Scheduler
from csbs.services.users import UserService
from csbs.workflows.bounded_runner import BoundedRunner
from csbs.workflows.runner import Execute, Runner, TaskRunner

log = logging.getLogger(__name__)

#: Tasks that the durable runner has, for each that it carries out at once: so that the next is
#: there when one ends.
_HANDED_FOR_EACH = 4

#: How often policies look for new servers.
_LOOK_S = 60.0
#: How often expiry looks for backups that no rule keeps.
_EXPIRY_S = 30.0
#: How often it is looked whether a repository can be collected.
_COLLECTION_S = 60.0

MakeRunner = Callable[[Execute], Runner]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What runs in one process."""

    region: Region
    #: Made at this start; None where there were users.
    first_administrator: FirstAdministrator | None
    #: Lets the scheduler look at once.
    wake_scheduler: Callable[[], None] = nobody


@contextmanager
def open_service(
    settings: Settings,
    *,
    driver: ComputeDriver | None = None,
    hasher: Hasher | None = None,
    make_runner: MakeRunner | None = None,
    schedule_clock: Clock = utc_now,
) -> Iterator[Service]:
    """The service over the data folder, which no other csbs uses meanwhile.

    Tests give a `driver` of their own, a `hasher` that is fast, a runner of which a process may
    have several, and a clock that policies are run by.  Raises what `csbs.app.open_app` raises.
    """
    with open_home(settings, alone=True) as (catalog, home):
        chosen = driver or make_driver(settings)
        engine = TaskEngine(
            make_runner=make_runner or partial(_runner, settings),
            executor_of=lambda project_id: region.project_app(project_id).executor,
            projects=partial(_project_ids, catalog),
            driver=chosen,
        )
        scheduler = _scheduler(settings, catalog, engine.runner, schedule_clock)
        host = replace(host_of(settings, chosen, engine.runner), policies_changed=scheduler.wake)
        region = make_region(settings, catalog, home, Passwords(hasher or argon2()), host)
        first = bootstrap(region.users, settings.bootstrap_password, random_bytes)
        engine.start()
        looking = Rounds(
            "new servers", partial(_bind_by_rules, catalog, region), interval_s=_LOOK_S
        )
        expiring = Rounds(
            "expiry", partial(_expire, catalog, region, defaultdict(Looks)), interval_s=_EXPIRY_S
        )
        stopping = threading.Event()
        collecting = Rounds(
            "collection",
            partial(_collect, catalog, region, stopping.is_set),
            interval_s=_COLLECTION_S,
        )
        parts = (scheduler, looking, expiring, collecting)
        for each in parts:
            each.start()
        try:
            yield Service(
                region=region,
                first_administrator=first,
                wake_scheduler=scheduler.wake,
            )
        finally:
            stopping.set()
            for each in parts:
                each.stop()
            host.jobs.stop()
            engine.stop()


def _bind_by_rules(catalog: Catalog, region: Region) -> None:
    """Lets policies take servers that came since."""
    for project_id in _project_ids(catalog):
        try:
            region.project_app(project_id).protection.binding.bind_by_rules()
        except CsbsError as error:
            log.warning("a look for new servers failed", extra={"why": str(error)})


def _expire(catalog: Catalog, region: Region, looks: dict[ProjectId, Looks]) -> None:
    """Lets backups go that the policies of their projects keep no more."""
    for project_id in _project_ids(catalog):
        try:
            expiry = region.project_app(project_id).protection.expiry
            expiry.expire_due(utc_now(), looks[project_id])
        except CsbsError as error:
            log.warning("expiry failed", extra={"project_id": project_id, "why": str(error)})


def _collect(catalog: Catalog, region: Region, stopping: Callable[[], bool]) -> None:
    """Frees the space of deleted backups where nobody uses the repository."""
    for project_id in _project_ids(catalog):
        if stopping():
            return
        try:
            region.project_app(project_id).collection.collect_due(utc_now(), stopping)
        except CsbsError as error:
            log.warning("collection failed", extra={"project_id": project_id, "why": str(error)})


def _scheduler(settings: Settings, catalog: Catalog, runner: TaskRunner, clock: Clock) -> Scheduler:
    due_runs = DueRuns(
        catalog=catalog,
        new_id=new_id,
        runner=runner,
        region_zone=settings.timezone,
        window_s=settings.schedule_jitter_s,
    )
    return Scheduler(due_runs, clock)


def _runner(settings: Settings, execute: Execute) -> Runner:
    from csbs.workflows.dbos_runner import DbosRunner, sqlite_url  # noqa: PLC0415  loads for long

    url = settings.catalog_url or sqlite_url(settings.data_dir / "workflows.sqlite")
    tasks_max = settings.tasks_at_once

    def durable(bounded: Execute) -> Runner:
        return DbosRunner(bounded, tasks_max=tasks_max, database_url=url)

    return BoundedRunner(execute, durable, handed_max=_HANDED_FOR_EACH * tasks_max)


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
            catalog=catalog, new_id=new_id, home_id=home.project_id, region=home.region
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

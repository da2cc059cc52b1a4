"""The only place that chooses adapters and wires them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from importlib import metadata
from pathlib import Path

from csbs import stores
from csbs.agent.backup_disk import CopyOptions
from csbs.agent.restore_disk import RestoreOptions
from csbs.blockio.memory import keep_freed_memory
from csbs.catalog import Catalog, Home, IdentityFile, backups, collections, leases, projects
from csbs.compute.base import ComputeDriver, HostCheck, never
from csbs.compute.libvirt import DriverOptions, LibvirtDriver, ScratchLimits
from csbs.config import Settings
from csbs.documents.backups import DeletionDocument
from csbs.documents.restores import RestoredDocument
from csbs.domain.clock import monotonic, new_id, random_bytes, sleep, utc_now
from csbs.domain.encryption import encryption_wanted
from csbs.domain.errors import CsbsError, DataFolderBusy, DataFolderFull, Invalid, folder_error
from csbs.domain.ids import ProjectId
from csbs.domain.rate import parse_rate
from csbs.domain.store_url import FolderPlace, parse_store_url
from csbs.notify import HttpOptions, HttpSender, MailOptions, SmtpMailer
from csbs.repository import (
    ContentIndex,
    Encryption,
    KeyFiles,
    KeyRing,
    Repository,
    read_key_ring,
    repository_lock,
)
from csbs.repository.errors import (
    RepositoryLocked,
    RepositoryNotFound,
)
from csbs.repository.objectstore import ObjectStore, Reserve, default_min_free
from csbs.repository.secret_box import SecretBox
from csbs.services.audit import AuditService
from csbs.services.backups import BackupService
from csbs.services.chores import Chores, ChoreService
from csbs.services.collection import CollectionService
from csbs.services.execution import TaskExecutor
from csbs.services.exports import ExportService
from csbs.services.locks import Locks, data_folder_alone, data_folder_in_use
from csbs.services.notifications import NotificationService
from csbs.services.project_app import App
from csbs.services.protection import nobody, protection_of
from csbs.services.quotas import QuotaService
from csbs.services.rebuilding import RebuildService
from csbs.services.repositories import Locked, RepositoryAccess, SharedLock, StillHeld
from csbs.services.repository_keys import KeyService
from csbs.services.repository_removal import RepositoryRemoval
from csbs.services.restores import RestoreService
from csbs.services.rpo import RpoService, gap_in
from csbs.services.sending import Sending
from csbs.services.servers import ServerService
from csbs.services.stores import NamedStore, StoreService
from csbs.services.tasks import TaskService
from csbs.services.verification import VerifyService
from csbs.services.work import Results
from csbs.workflows.runner import NoRunner, TaskRunner

#: A thread that reads is at work all the time, one that writes waits for the disk half of it.
_WRITERS_FOR_EACH_READER = 2


@dataclass(eq=False)
class SeveralRepositories(Invalid):
    """The store has repositories of several projects, and none was chosen."""

    store: str
    projects: tuple[str, ...]

    @property
    def _ids(self) -> str:
        return ", ".join(self.projects)

    template = "the store {0.store} has repositories of several projects: choose one of {0._ids}"


@contextmanager
def open_app(settings: Settings, driver: ComputeDriver | None = None) -> Iterator[App]:
    """All use cases over the data folder, which is made at the first use.

    Tests give a `driver` of their own.

    Raises `FolderDenied`, `FolderUnusable`, `DataFolderBusy`, `CatalogFailed`, `CatalogTooNew`.
    """
    with _open_catalog(settings, alone=False) as (catalog, _):
        host = host_of(settings, driver or make_driver(settings))
        yield wired(settings, catalog, _home(settings, catalog), host)


@contextmanager
def open_rebuilding(settings: Settings, project: str | None) -> Iterator[RebuildService]:
    """Rebuilding the catalog of the data folder, which takes the project of a repository.

    `project` chooses among several in the store.  Raises what `open_app` raises,
    `RepositoryNotFound`, `SeveralRepositories` and `ProjectInUse`.
    """
    with _open_catalog(settings, alone=False) as (catalog, _):
        own = _home(settings, catalog).project_id
        catalog.adopt_project(_project_in_store(settings, project, own))
        home = _home(settings, catalog)
        yield RebuildService(
            catalog=catalog,
            project_id=home.project_id,
            repositories=_repositories(settings, catalog, home),
            clock=utc_now,
        )


@contextmanager
def open_home(settings: Settings, *, alone: bool) -> Iterator[tuple[Catalog, Home]]:
    """The catalog and who it is; `alone`: while no other csbs uses the data folder or the catalog.

    Raises what `open_app` raises.
    """
    with _open_catalog(settings, alone=alone) as (catalog, _):
        yield catalog, _home(settings, catalog)


@contextmanager
def open_home_alone(settings: Settings) -> Iterator[tuple[Catalog, Home, StillHeld]]:
    """Like `open_home`; the last one raises `LockLost` if another may be there by now."""
    with _open_catalog(settings, alone=True) as (catalog, still_alone):
        yield catalog, _home(settings, catalog), still_alone


@contextmanager
def _open_catalog(settings: Settings, *, alone: bool) -> Iterator[tuple[Catalog, StillHeld]]:
    keep_freed_memory()
    _make_data_folder(settings.data_dir)
    with (data_folder_alone if alone else data_folder_in_use)(settings.data_dir):
        _keep_reserve(settings.data_dir)
        catalog = Catalog.open(settings.catalog_url or settings.data_dir / "catalog.sqlite")
        try:
            with _catalog_in_use(settings, catalog, alone=alone) as still_held:
                yield catalog, still_held
        finally:
            catalog.close()


def _catalog_in_use(
    settings: Settings, catalog: Catalog, *, alone: bool
) -> AbstractContextManager[StillHeld]:
    """As the data folder, for a catalog that other data folders may use too."""
    lock = catalog.lock("csbs serve", lambda holder: DataFolderBusy(str(settings.data_dir), holder))
    if lock is None:
        return nullcontext(lambda: None)
    return lock.exclusive("csbs serve") if alone else lock.shared("a local command")


def _home(settings: Settings, catalog: Catalog) -> Home:
    file = IdentityFile(settings.data_dir / "identity.json")
    home = catalog.home(clock=utc_now, new_id=new_id, former=file.read())
    file.write(home)
    return home


def _project_in_store(settings: Settings, wanted: str | None, own: ProjectId) -> ProjectId:
    place = settings.store_place
    found = stores.repositories_below(place, stores.options(settings))
    chosen = [wanted] if wanted else [own] if own in found else found
    if not found or chosen[0] not in found:
        raise RepositoryNotFound(place.below(wanted).name if wanted else place.name)
    if len(chosen) > 1:
        raise SeveralRepositories(place.name, tuple(found))
    return ProjectId(chosen[0])


def make_driver(settings: Settings) -> ComputeDriver:
    """The driver of this host; connects at its first use."""
    return LibvirtDriver(
        settings.libvirt_uri,
        run_folder=settings.run_dir,
        scratch_folder=settings.scratch_dir,
        options=DriverOptions(
            freeze_budget_s=settings.freeze_budget_s,
            low_priority=settings.low_priority,
            call_timeout_s=settings.libvirt_timeout_s,
            scratch_limits=ScratchLimits(
                max_bytes=settings.scratch_max_bytes,
                reserve_bytes=settings.scratch_reserve_bytes,
            ),
        ),
    )


def check_host(settings: Settings) -> list[HostCheck]:
    """What of this host fits, for `csbs doctor`."""
    return [
        *make_driver(settings).host_checks(),
        _check_folder("data folder", settings.data_dir),
        _check_store(settings),
    ]


def _check_store(settings: Settings) -> HostCheck:
    place = settings.store_place
    if isinstance(place, FolderPlace):
        return _check_folder("store", place.folder)
    try:
        store = stores.open_store(place, stores.options(settings), cancelled=never)
        next(iter(store.list("owners/")), None)
    except CsbsError as error:
        advice = "mend it, or set store_url and the keys of S3 anew"
        return HostCheck(name="store", ok=False, found=str(error), advice=advice)
    return HostCheck(name="store", ok=True, found=place.name, advice="")


def _check_folder(name: str, folder: Path) -> HostCheck:
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return HostCheck(
            name=name,
            ok=False,
            found=f"no right to write to {existing}",
            advice="run csbs as a user who may, or set another folder",
        )
    usage = shutil.disk_usage(existing)
    return HostCheck(
        name=name,
        ok=usage.free >= default_min_free(usage.total),
        found=f"{folder}, {usage.free / 1024**3:.1f} GiB free",
        advice="new backups must leave 5 % of its file system and at least 1 GiB: free some",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What all projects share: the servers of this host, and their locks."""

    driver: ComputeDriver
    locks: Locks
    #: What carries out tasks behind the caller's back.
    runner: TaskRunner = field(default_factory=NoRunner)
    #: Told of every change of a policy.
    policies_changed: Callable[[], None] = nobody
    #: Work on repositories that no call waits for.
    chores: Chores = field(default_factory=Chores)


def host_of(settings: Settings, driver: ComputeDriver, runner: TaskRunner | None = None) -> Host:
    """This host, seen through the driver."""
    locks = Locks(run_folder=settings.run_dir, monotonic=monotonic, sleep=sleep)
    return Host(driver=driver, locks=locks, runner=runner or NoRunner())


def wired(settings: Settings, catalog: Catalog, home: Home, host: Host) -> App:
    """All use cases of the project that `home` names."""
    parts = _Parts(settings, catalog, home, host, _repositories(settings, catalog, home))
    repositories = parts.repositories
    backup_service = _backup_service(parts)
    restores = _restore_service(parts, backup_service)
    verification = VerifyService(
        catalog=catalog, project_id=home.project_id, repositories=repositories, clock=utc_now
    )
    return App(
        servers=backup_service.servers,
        backups=backup_service,
        restores=restores,
        exports=ExportService(
            driver=host.driver,
            backups=backup_service,
            repositories=repositories,
            writing=restores.writing,
            limit_bytes_per_s=_limit_bytes_per_s(settings),
        ),
        repositories=repositories,
        verification=verification,
        chores=ChoreService(
            project_id=home.project_id,
            chores=host.chores,
            repositories=repositories,
            verification=verification,
            clock=utc_now,
            new_id=new_id,
        ),
        keys=KeyService(
            repositories=repositories,
            files=key_files(settings),
            read_ring=partial(_read_key_ring, settings, home),
        ),
        stores=_stores(settings, home, repositories),
        tasks=TaskService(
            catalog=catalog, project_id=home.project_id, clock=utc_now, runner=host.runner
        ),
        collection=CollectionService(
            catalog=catalog,
            project_id=home.project_id,
            repositories=repositories,
            monotonic=monotonic,
        ),
        executor=_executor(parts, backup_service, restores),
        protection=protection_of(
            backup_service,
            restores,
            region_zone=settings.timezone,
            rpo_grace=timedelta(seconds=settings.rpo_grace_s),
            policies_changed=host.policies_changed,
        ),
        audit=AuditService(catalog=catalog, clock=utc_now),
        notifications=NotificationService(
            catalog=catalog,
            project_id=home.project_id,
            sending=sending_of(settings, catalog),
            clock=utc_now,
            new_id=new_id,
            random_bytes=random_bytes,
        ),
        rpo=RpoService(
            catalog=catalog,
            project_id=home.project_id,
            clock=utc_now,
            gap_of=partial(gap_in, settings.timezone),
            grace=timedelta(seconds=settings.rpo_grace_s),
        ),
    )


def sending_of(settings: Settings, catalog: Catalog) -> Sending:
    """How events leave this service."""

    def project_name(project_id: ProjectId) -> str:
        with catalog.transaction() as transaction:
            found = projects.by_id(transaction, project_id)
        return project_id if found is None else found.name

    return Sending(
        catalog=catalog,
        secrets=SecretBox(key_files(settings), random_bytes),
        webhooks=HttpSender(
            HttpOptions(
                local_allowed=settings.webhook_local_targets,
                ca_file=settings.notification_ca_file,
                user_agent=f"csbs/{metadata.version('csbs')}",
            )
        ),
        mailer=SmtpMailer(
            MailOptions(
                host=settings.smtp_host,
                port=settings.smtp_port,
                security=settings.smtp_security,
                user=settings.smtp_user,
                password=settings.smtp_password,
                sender=settings.smtp_from,
                ca_file=settings.notification_ca_file,
            ),
            utc_now,
        ),
        project_name=project_name,
        clock=utc_now,
    )


def _restore_options(settings: Settings) -> RestoreOptions:
    return RestoreOptions(
        threads=_WRITERS_FOR_EACH_READER * settings.readers,
        fetch_size_max=stores.fetch_size_max(settings.store_place),
        low_priority=settings.low_priority,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the services of a project are made of."""

    settings: Settings
    catalog: Catalog
    home: Home
    host: Host
    repositories: RepositoryAccess


def _backup_service(parts: _Parts) -> BackupService:
    settings, catalog, project_id = parts.settings, parts.catalog, parts.home.project_id
    return BackupService(
        catalog=catalog,
        project_id=project_id,
        driver=parts.host.driver,
        servers=ServerService(
            catalog=catalog,
            project_id=project_id,
            driver=parts.host.driver,
            locks=parts.host.locks,
            stop_timeout_s=settings.stop_timeout_s,
        ),
        repositories=parts.repositories,
        locks=parts.host.locks,
        clock=utc_now,
        new_id=new_id,
        copying=CopyOptions(threads=settings.readers, low_priority=settings.low_priority),
        limit_bytes_per_s=_limit_bytes_per_s(settings),
        require_space=partial(_require_space, settings.data_dir),
        require_quota=QuotaService(catalog=catalog, project_id=project_id).require_backup,
        runner=parts.host.runner,
    )


def _restore_service(parts: _Parts, backup_service: BackupService) -> RestoreService:
    settings = parts.settings
    return RestoreService(
        catalog=parts.catalog,
        project_id=parts.home.project_id,
        driver=parts.host.driver,
        backups=backup_service,
        repositories=parts.repositories,
        locks=parts.host.locks,
        clock=utc_now,
        new_id=new_id,
        writing=_restore_options(settings),
        limit_bytes_per_s=_limit_bytes_per_s(settings),
        stop_timeout_s=settings.stop_timeout_s,
        runner=parts.host.runner,
    )


def _executor(
    parts: _Parts, backup_service: BackupService, restores: RestoreService
) -> TaskExecutor:
    return TaskExecutor(
        catalog=parts.catalog,
        project_id=parts.home.project_id,
        driver=parts.host.driver,
        backups=backup_service,
        restores=restores,
        repositories=parts.repositories,
        locks=parts.host.locks,
        clock=utc_now,
        results=Results(
            restored=lambda done, started: RestoredDocument.of(done, started=started).json_value(),
            deleted=lambda plan: DeletionDocument.of(plan).json_value(),
        ),
    )


def _limit_bytes_per_s(settings: Settings) -> int | None:
    return parse_rate(settings.rate_limit) if settings.rate_limit else None


def _repositories(settings: Settings, catalog: Catalog, home: Home) -> RepositoryAccess:
    """The project's repository, at `<store>/<project id>`: projects share nothing."""
    project_id = home.project_id
    place = settings.store_place.below(project_id)
    options = stores.options(settings)
    index_path = settings.data_dir / "index" / f"{project_id}.sqlite"

    def open_store(cancelled: Callable[[], bool]) -> ObjectStore:
        return stores.open_store(place, options, cancelled=cancelled)

    encryption = Encryption(
        wanted=encryption_wanted(settings.encryption, settings.store_url),
        files=key_files(settings),
    )

    def open_repository(cancelled: Callable[[], bool]) -> Repository:
        with catalog.transaction() as transaction:
            # One that waits for its turn has no key, and says nothing of the store.
            begun = backups.is_one_begun(transaction, project_id)
        # With backups, a store that is not there is not mounted: never make it anew.
        make = stores.require_made if begun else stores.make_store
        store = make(place, options, cancelled=cancelled)
        return Repository.open(
            store,
            name=place.name,
            catalog_id=home.catalog_id,
            clock=utc_now,
            new_id=new_id,
            encryption=encryption,
        )

    def restorable_keys() -> list[str]:
        with catalog.transaction() as transaction:
            return backups.restorable_keys(transaction, project_id)

    def raise_epoch() -> None:
        with catalog.transaction() as transaction:
            leases.raise_epoch(transaction, project_id)

    def collected() -> None:
        with catalog.transaction() as transaction:
            collections.end(transaction, project_id, at=utc_now())

    def open_index(_repository: Repository) -> ContentIndex:
        index_path.parent.mkdir(parents=True, exist_ok=True)
        return ContentIndex(index_path)

    return RepositoryAccess(
        lock=_repository_lock(settings, catalog, project_id, place.name),
        open_repository=open_repository,
        open_store=open_store,
        open_index=open_index,
        restorable_keys=restorable_keys,
        raise_epoch=raise_epoch,
        collected=collected,
    )


def removal_of(
    settings: Settings, catalog: Catalog, home: Home, project_id: ProjectId
) -> RepositoryRemoval:
    """How the repository of a project is removed."""
    place = settings.store_place.below(project_id)
    options = stores.options(settings)

    def is_made() -> bool:
        return project_id in stores.repositories_below(settings.store_place, options)

    def erase() -> None:
        stores.erase_store(place, options)
        for path in (settings.data_dir / "index").glob(f"{project_id}.sqlite*"):
            path.unlink(missing_ok=True)

    repositories = _repositories(settings, catalog, replace(home, project_id=project_id))
    return RepositoryRemoval(repositories=repositories, is_made=is_made, erase=erase)


def _repository_lock(
    settings: Settings, catalog: Catalog, project_id: ProjectId, name: str
) -> SharedLock:
    own = repository_lock(settings.data_dir / f"repository-{project_id}.lock", name)

    def epoch() -> int:
        with catalog.transaction() as transaction:
            return leases.epoch(transaction, project_id)

    everywhere = catalog.lock(
        f"csbs repository {project_id}",
        lambda holder: RepositoryLocked(name, holder),
        state=epoch,
    )
    return own if everywhere is None else Locked((own, everywhere))


def key_files(settings: Settings) -> KeyFiles:
    """Files of keys on this machine."""
    return KeyFiles(
        settings.region_key_path,
        folder=settings.data_dir,
        random_bytes=random_bytes,
        recovery_file=settings.recovery_key_file,
    )


def _read_key_ring(settings: Settings, home: Home) -> KeyRing:
    place = settings.store_place.below(home.project_id)
    store = stores.open_store(place, stores.options(settings), cancelled=never)
    return read_key_ring(store, place.name)


def _stores(settings: Settings, home: Home, repositories: RepositoryAccess) -> StoreService:
    def open_store(cancelled: Callable[[], bool]) -> NamedStore:
        place = settings.store_place.below(home.project_id)
        store = stores.open_store(place, stores.options(settings), cancelled=cancelled)
        return NamedStore(place.name, store)

    def open_target(url: str, cancelled: Callable[[], bool]) -> NamedStore:
        place = parse_store_url(url).below(home.project_id)
        store = stores.make_store(place, stores.options_of_copy(settings), cancelled=cancelled)
        return NamedStore(place.name, store)

    return StoreService(repositories=repositories, open_store=open_store, open_target=open_target)


def _make_data_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise folder_error(folder, error) from error


def _keep_reserve(data_dir: Path) -> None:
    """On a full file system the catalog could not even say what is to be deleted."""
    reserve = Reserve(data_dir / "reserve")
    with suppress(OSError):  # whoever needs the space meets the error, and names it
        reserve.give_up_when_full()
        reserve.renew()


def _require_space(data_dir: Path) -> None:
    usage = shutil.disk_usage(data_dir)
    needed_bytes = default_min_free(usage.total)
    if usage.free < needed_bytes:
        raise DataFolderFull(str(data_dir), usage.free, needed_bytes)

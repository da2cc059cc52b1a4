"""A project goes with its repository, whatever kills csbs meanwhile; what can be restored stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete

from csbs.catalog import projects, tables
from csbs.domain.tenancy import Project, ProjectNotEmpty, ProjectNotFound
from csbs.repository.errors import RepositoryLocked
from csbs.services.projects import ProjectService
from csbs.services.repository_removal import RepositoryRemoval
from csbs.services.requests import CreateBackup
from csbs.testing.live_api import LiveApi, live_api
from csbs.workflows.run import Watcher

MIB = 1024**2


class Crash(BaseException):
    """Nothing of ours catches it, as nothing catches a kill -9."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LiveApi]:
    with live_api(tmp_path) as running:
        yield running


@pytest.fixture
def project(api: LiveApi) -> Project:
    """One with an empty repository."""
    made = api.region.projects.create("local_x")
    api.region.project_app(made.id).stores.init()
    assert folder(api, made).is_dir()
    return made


def folder(api: LiveApi, project: Project) -> Path:
    return api.settings.data_dir / "store" / project.id


def nobody() -> Watcher:
    """Watches."""
    return Watcher(on_progress=lambda _: None, cancel=threading.Event())


def removal(api: LiveApi, project: Project) -> RepositoryRemoval:
    return api.region.projects.removal_of(project.id)


def left(api: LiveApi) -> list[str]:
    """Projects whose repositories still have to go."""
    with api.region.projects.catalog.transaction() as transaction:
        return [each.id for each in projects.deleted(transaction)]


def dying(api: LiveApi, project: Project, *, at: str) -> ProjectService:
    """The service that dies before or after an act of the removal, or in the middle of it."""
    real = removal(api, project)

    def erase() -> None:
        if at == "before the erasure":
            raise Crash
        if at == "after the config":
            (folder(api, project) / "twins" / "config").unlink()
            (folder(api, project) / "config").unlink()
            raise Crash
        real.erase()
        raise Crash

    return replace(api.region.projects, removal_of=lambda _: replace(real, erase=erase))


def test_an_empty_repository_goes_with_its_project(api: LiveApi, project: Project) -> None:
    api.region.projects.delete(project.name)

    assert not folder(api, project).exists()
    assert left(api) == []
    with pytest.raises(ProjectNotFound):
        api.region.projects.find(project.id)


def test_a_project_that_never_had_a_repository_makes_none(api: LiveApi) -> None:
    made = api.region.projects.create("local_y")

    api.region.projects.delete(made.id)

    assert not folder(api, made).exists()
    assert left(api) == []


@pytest.mark.parametrize("at", ["before the erasure", "after the config", "after the erasure"])
def test_a_deletion_that_was_killed_is_finished(api: LiveApi, project: Project, at: str) -> None:
    with pytest.raises(Crash):
        dying(api, project, at=at).delete(project.name)
    assert left(api) == [project.id]
    again = api.region.projects.create(project.name)  # the name is free

    api.region.projects.finish_deletions()

    assert left(api) == []
    assert not folder(api, project).exists()
    assert [each.id for each in api.region.projects.list_all() if each.name == again.name] == [
        again.id
    ]


def test_a_kill_before_the_project_is_gone_leaves_all_of_it(api: LiveApi, project: Project) -> None:
    real = removal(api, project)

    def is_made() -> bool:
        raise Crash

    service = replace(api.region.projects, removal_of=lambda _: replace(real, is_made=is_made))
    with pytest.raises(Crash):
        service.delete(project.name)

    assert left(api) == []
    assert api.region.projects.find(project.id) == project
    assert folder(api, project).is_dir()


def test_what_cannot_be_removed_now_is_removed_later(api: LiveApi, project: Project) -> None:
    with pytest.raises(Crash):
        dying(api, project, at="before the erasure").delete(project.name)

    with removal(api, project).repositories.lock.shared("a backup"):
        api.region.projects.finish_deletions()
        assert left(api) == [project.id]
    api.region.projects.finish_deletions()

    assert left(api) == []


def test_a_repository_that_somebody_uses_is_not_removed(api: LiveApi, project: Project) -> None:
    with (
        removal(api, project).repositories.lock.shared("a backup"),
        pytest.raises(RepositoryLocked),
    ):
        api.region.projects.delete(project.name)

    assert api.region.projects.find(project.id) == project


@pytest.fixture
def backed_up(api: LiveApi, project: Project) -> Project:
    """It owns a server with a backup."""
    server = api.driver.add_server("web", {"vda": MIB})
    api.region.assignments.assign(server.id, project.id)
    app = api.region.project_app(project.id)
    app.backups.create(CreateBackup(server="web"), nobody())
    return project


def test_a_project_stays_while_it_owns_something(api: LiveApi, backed_up: Project) -> None:
    with pytest.raises(ProjectNotEmpty, match="has 1 "):
        api.region.projects.delete(backed_up.name)


def test_a_project_stays_while_something_can_be_restored_that_the_catalog_lost(
    api: LiveApi, backed_up: Project
) -> None:
    with api.region.projects.catalog.transaction() as transaction:
        for table in (tables.tasks, tables.backups, tables.disks, tables.servers):
            transaction.execute(delete(table))

    with pytest.raises(ProjectNotEmpty, match="1 backups in its repository"):
        api.region.projects.delete(backed_up.name)

    assert api.region.projects.find(backed_up.id) == backed_up
    assert folder(api, backed_up).is_dir()


def test_what_was_written_after_a_killed_deletion_is_not_removed(
    api: LiveApi, backed_up: Project
) -> None:
    with api.region.projects.catalog.transaction() as transaction:
        for table in (tables.tasks, tables.backups, tables.disks, tables.servers):
            transaction.execute(delete(table))
        projects.remove(transaction, backed_up, at=api.region.clock())

    api.region.projects.finish_deletions()

    assert left(api) == [backed_up.id]
    with pytest.raises(ProjectNotEmpty, match="1 backups"):
        removal(api, backed_up).require_empty(backed_up.name)


def test_deleted_backups_hold_no_project(api: LiveApi, backed_up: Project) -> None:
    app = api.region.project_app(backed_up.id)
    [backup] = app.backups.list_all()
    app.backups.delete(backup.id, nobody())
    api.region.assignments.assign("web", "local")

    api.region.projects.delete(backed_up.name)

    assert not folder(api, backed_up).exists()

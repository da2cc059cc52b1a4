"""SQLite looks lists up by the right index, however little is in the catalog so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from csbs.catalog import Catalog, Transaction, backup_lists, backups, run_lists, task_lists, tasks
from csbs.catalog.backup_lists import BackupFilter
from csbs.catalog.run_lists import RunFilter
from csbs.catalog.task_lists import TaskFilter, TaskList
from csbs.domain.backup import BackupState
from csbs.domain.ids import BackupId, CheckpointId, PolicyId, ProjectId, ServerId
from csbs.domain.listing import NEWEST_FIRST, Listing, Order, Place
from csbs.domain.task import TaskKind
from csbs.testing.values import START

P = ProjectId("p")
BY_NAME: Order = (("name", False),)
BACKUPS = "ix_backups_project_id_"
TASKS = "ix_tasks_project_id_"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path / "catalog.sqlite")
    yield catalog
    catalog.close()


def plan_of(catalog: Catalog, query: Callable[[Transaction], object]) -> str:
    """How SQLite would carry out what the query asks last."""
    said: list[tuple[str, Any]] = []

    def remember(*call: Any) -> None:
        said.append(call[2:4])

    with catalog.reading() as transaction:
        event.listen(transaction, "before_cursor_execute", remember)
        query(transaction)
        event.remove(transaction, "before_cursor_execute", remember)
        [*_, (statement, values)] = said
        rows = transaction.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        return "\n".join(str(row[3]) for row in rows)


def listed(order: Order = NEWEST_FIRST, **wanted: Any) -> Callable[[Transaction], object]:
    listing = Listing(order=order, limit=10)
    return lambda transaction: backup_lists.page(transaction, P, BackupFilter(**wanted), listing)


def run(transaction: Transaction) -> object:
    return run_lists.page(transaction, P, RunFilter(), Listing())


def restores(transaction: Transaction) -> object:
    return task_lists.page(transaction, P, TaskFilter(), Listing(), TaskList(kind=TaskKind.RESTORE))


def behind(transaction: Transaction) -> object:
    listing = Listing(behind=Place(START, "x"))
    return backup_lists.page(transaction, P, BackupFilter(), listing)


@pytest.mark.parametrize(
    ("query", "first"),
    [
        (listed(), f"SEARCH backups USING INDEX {BACKUPS}created_at (project_id=?)"),
        (behind, f"SEARCH backups USING INDEX {BACKUPS}created_at (project_id=? AND created_at<?)"),
        (listed(BY_NAME), f"SEARCH backups USING INDEX {BACKUPS}name (project_id=?)"),
        (
            listed(server_ids=[ServerId("s")]),
            f"SEARCH backups USING INDEX {BACKUPS}server_id_created_at (project_id=? AND",
        ),
        (
            listed(policy_id=PolicyId("x")),
            f"SEARCH backups USING INDEX {BACKUPS}policy_id_created_at (project_id=? AND",
        ),
        (
            listed(checkpoint_id=CheckpointId("x")),
            f"SEARCH backups USING INDEX {BACKUPS}checkpoint_id (project_id=? AND",
        ),
        (
            listed(state=BackupState.ERROR),
            f"SEARCH backups USING INDEX {BACKUPS}state_created_at (project_id=? AND state=?)",
        ),
        (listed(state=BackupState.PROTECTING), "SEARCH backups USING INDEX sqlite_autoindex_"),
        (run, f"SEARCH backups USING INDEX {BACKUPS}created_at (project_id=?)"),
        (restores, f"SEARCH tasks USING INDEX {TASKS}kind_created_at (project_id=? AND kind=?)"),
        (
            lambda transaction: tasks.open_of_project(transaction, P),
            f"SEARCH tasks USING INDEX {TASKS}state_ended_at (project_id=? AND state=?)",
        ),
        (
            lambda transaction: tasks.newest_of_backup(transaction, P, BackupId("x")),
            "SEARCH tasks USING INDEX ix_tasks_backup_id_created_at (backup_id=?)",
        ),
        (
            lambda transaction: backups.names_beginning(transaction, P, "manualbk_3f2a"),
            f"SEARCH backups USING COVERING INDEX {BACKUPS}name (project_id=? AND name>? AND",
        ),
    ],
)
def test_an_index_serves(
    catalog: Catalog, query: Callable[[Transaction], object], first: str
) -> None:
    found = plan_of(catalog, query)

    assert first in found.splitlines()[0]
    assert "SCAN backups" not in found

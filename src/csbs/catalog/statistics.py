"""What SQLite is told of how much is in the tables, so that it chooses indexes well.

Without it SQLite takes each index for as good as another, and looks for one backup among all of
its project.  It could count itself (`ANALYZE`), and would choose otherwise from day to day.  So the
figures are fixed: those of a large catalog, where a wrong choice costs most.  PostgreSQL counts.
"""

from __future__ import annotations

from sqlalchemy import Engine, Table

from csbs.catalog.tables import metadata

_BACKUPS = 1_000_000
_TASKS = 100_000
#: By index: rows in its table, then how many of them share its first column, its first two ...
#: All are of one project.
_SHARED = {
    "sqlite_autoindex_backups_1": (_BACKUPS, 1),
    "ix_backups_project_id_created_at": (_BACKUPS, _BACKUPS, 1),
    "ix_backups_project_id_name": (_BACKUPS, _BACKUPS, 2),
    "ix_backups_project_id_state_created_at": (_BACKUPS, _BACKUPS, 10_000, 1),
    "ix_backups_project_id_server_id_created_at": (_BACKUPS, _BACKUPS, 1000, 1),
    "ix_backups_project_id_server_name": (_BACKUPS, _BACKUPS, 1000),
    "ix_backups_project_id_policy_id_created_at": (_BACKUPS, _BACKUPS, 30_000, 1),
    "ix_backups_project_id_checkpoint_id": (_BACKUPS, _BACKUPS, 10),
    "sqlite_autoindex_disk_backups_1": (2 * _BACKUPS, 2, 1),
    "sqlite_autoindex_backup_tags_1": (_BACKUPS, 2, 1),
    "ix_backup_tags_key_value": (_BACKUPS, 100_000, 1000),
    "sqlite_autoindex_tasks_1": (_TASKS, 1),
    "ix_tasks_server_id_state": (_TASKS, 100, 50),
    "ix_tasks_project_id_created_at": (_TASKS, _TASKS, 1),
    "ix_tasks_project_id_kind_created_at": (_TASKS, _TASKS, 30_000, 1),
    "ix_tasks_project_id_state_ended_at": (_TASKS, _TASKS, 1000, 1),
    "ix_tasks_backup_id_created_at": (_TASKS, 2, 1),
}


def tell_sqlite(engine: Engine) -> None:
    """Writes the figures; a table that a migration makes anew loses them."""
    rows = [
        (table.name, index, " ".join(map(str, _SHARED[index])))
        for table in metadata.sorted_tables
        for index in (
            f"sqlite_autoindex_{table.name}_1",
            *(str(each.name) for each in table.indexes),
        )
        if index in _SHARED
    ]
    assert len(rows) == len(_SHARED)
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE sqlite_schema")  # makes the table of figures
        connection.exec_driver_sql("DELETE FROM sqlite_stat1")
        connection.exec_driver_sql("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", rows)
        connection.exec_driver_sql("ANALYZE sqlite_schema")  # and reads it


def _indexes(table: Table) -> list[str]:
    """With that of its primary key."""
    return [f"sqlite_autoindex_{table.name}_1", *(str(each.name) for each in table.indexes)]

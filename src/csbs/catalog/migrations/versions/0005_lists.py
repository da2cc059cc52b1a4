"""Indexes of lists and of pruning; deleted projects; texts are sorted by code points."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_DROPPED = (
    ("ix_backups_checkpoint_id", "backups"),
    ("ix_backups_policy_id", "backups"),
)
_CREATED = (
    ("backups", "project_id", "created_at"),
    ("backups", "project_id", "name"),
    ("backups", "project_id", "state", "created_at"),
    ("backups", "project_id", "server_name"),
    ("backups", "project_id", "policy_id", "created_at"),
    ("backups", "project_id", "checkpoint_id"),
    ("tasks", "project_id", "kind", "created_at"),
    ("tasks", "project_id", "state", "ended_at"),
    ("tasks", "backup_id", "created_at"),
    ("backup_tags", "key", "value"),
    ("audit_events", "at"),
)
#: All tables that there are by now.
_TABLES = (
    *("identity", "projects", "servers", "disks", "backups", "disk_backups", "token_moves"),
    *("tasks", "task_steps", "leases", "epochs", "users", "memberships", "tokens", "access_keys"),
    *("used_signatures", "audit_events", "policies", "policy_servers", "schedules"),
    *("backup_tags", "policy_tags", "quotas"),
)


def upgrade() -> None:
    """Applies it."""
    if op.get_bind().dialect.name == "postgresql":
        for table in _TABLES:
            _sort_by_code_points(table)
    op.create_table(
        "deleted_projects",
        sa.Column("id", _text(32), nullable=False),
        sa.Column("name", _text(64), nullable=False),
        sa.Column("deleted_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deleted_projects")),
    )
    for name, table in _DROPPED:
        op.drop_index(name, table)
    for table, *columns in _CREATED:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def _text(size: int) -> sa.String:
    return sa.String(size).with_variant(sa.String(size, collation="C"), "postgresql")


def _sort_by_code_points(table: str) -> None:
    changes = [
        f'ALTER COLUMN "{column["name"]}" TYPE {kind.compile(op.get_bind().dialect)} COLLATE "C"'
        for column in sa.inspect(op.get_bind()).get_columns(table)
        if isinstance(kind := column["type"], sa.String)
    ]
    if changes:
        op.execute(f"ALTER TABLE {table} {', '.join(changes)}")

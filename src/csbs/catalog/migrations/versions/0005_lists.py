"""Indexes of lists and of pruning; deleted projects."""

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


def upgrade() -> None:
    """Applies it."""
    op.create_table(
        "deleted_projects",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("deleted_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deleted_projects")),
    )
    for name, table in _DROPPED:
        op.drop_index(name, table)
    for table, *columns in _CREATED:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)

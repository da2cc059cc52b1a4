"""When schedules are due, their runs, and servers that are bound by their tags."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Applies it."""
    # The scheduler fills it at its first start.
    op.add_column("schedules", sa.Column("next_run_at", sa.DateTime(), nullable=True))
    op.create_index(op.f("ix_schedules_next_run_at"), "schedules", ["next_run_at"])
    op.add_column("policies", sa.Column("auto_bind", sa.JSON(), nullable=True))
    op.add_column("tasks", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "servers",
        sa.Column("keep_unbound", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    _create_runs()
    _create_server_runs()
    op.create_table(
        "server_tags",
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=127), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["server_id"],
            ["servers.id"],
            name=op.f("fk_server_tags_server_id_servers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("server_id", "key", name=op.f("pk_server_tags")),
    )


def _create_runs() -> None:
    op.create_table(
        "policy_runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("policy_id", sa.String(length=36), nullable=False),
        sa.Column("schedule_id", sa.String(length=36), nullable=False),
        sa.Column("due_at", sa.DateTime(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("claimed_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_policy_runs_project_id_projects")
        ),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["policies.id"],
            name=op.f("fk_policy_runs_policy_id_policies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_runs")),
        sa.UniqueConstraint(
            "schedule_id", "due_at", name=op.f("uq_policy_runs_schedule_id_due_at")
        ),
    )
    op.create_index(op.f("ix_policy_runs_state"), "policy_runs", ["state"])
    op.create_index("ix_policy_runs_policy_id_due_at", "policy_runs", ["policy_id", "due_at"])


def _create_server_runs() -> None:
    op.create_table(
        "server_runs",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("policy_id", sa.String(length=36), nullable=False),
        sa.Column("begins_at", sa.DateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("backup_id", sa.String(length=36), nullable=True),
        sa.Column("task_id", sa.String(length=36), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["policy_runs.id"],
            name=op.f("fk_server_runs_run_id_policy_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["server_id"], ["servers.id"], name=op.f("fk_server_runs_server_id_servers")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_server_runs_project_id_projects")
        ),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["policies.id"],
            name=op.f("fk_server_runs_policy_id_policies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "server_id", name=op.f("pk_server_runs")),
    )
    op.create_index("ix_server_runs_state_begins_at", "server_runs", ["state", "begins_at"])
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "uq_server_runs_waiting",
        "server_runs",
        ["server_id", "policy_id"],
        unique=True,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )

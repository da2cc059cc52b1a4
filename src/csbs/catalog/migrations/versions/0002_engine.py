"""Waiting tasks, runs of backups, causes of failures, leases and epochs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Applies it."""
    with op.batch_alter_table("backups") as batch_op:
        batch_op.add_column(sa.Column("fail_op", sa.String(length=16), nullable=True))
        batch_op.add_column(
            sa.Column("fail_code", sa.String(length=64), nullable=False, server_default="")
        )
        batch_op.add_column(sa.Column("description", sa.Text(), nullable=False, server_default=""))
        batch_op.add_column(
            sa.Column("checkpoint_id", sa.String(length=36), nullable=False, server_default="")
        )
        batch_op.add_column(sa.Column("policy_id", sa.String(length=36), nullable=True))
        batch_op.add_column(
            sa.Column("auto_trigger", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    op.execute("UPDATE backups SET checkpoint_id = id")
    op.execute("UPDATE backups SET fail_op = 'backup' WHERE state = 'error'")
    op.create_index(op.f("ix_backups_checkpoint_id"), "backups", ["checkpoint_id"])
    op.create_index(op.f("ix_backups_policy_id"), "backups", ["policy_id"])
    with op.batch_alter_table("tasks") as batch_op:
        batch_op.add_column(sa.Column("created_at", sa.DateTime(), nullable=True))
        batch_op.add_column(
            sa.Column("error_code", sa.String(length=64), nullable=False, server_default="")
        )
        batch_op.add_column(
            sa.Column("cancellable", sa.Boolean(), nullable=False, server_default=sa.true())
        )
        batch_op.add_column(sa.Column("request", sa.JSON(), nullable=False, server_default="{}"))
    op.execute("UPDATE tasks SET created_at = started_at")
    with op.batch_alter_table("tasks") as batch_op:
        batch_op.alter_column("created_at", existing_type=sa.DateTime(), nullable=False)
        batch_op.alter_column("started_at", existing_type=sa.DateTime(), nullable=True)
    op.create_index("ix_tasks_project_id_created_at", "tasks", ["project_id", "created_at"])
    op.create_table(
        "leases",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("task_id", sa.String(length=36), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("manifest_key", sa.String(length=255), nullable=False),
        sa.Column("uses", sa.JSON(), nullable=False),
        sa.Column("given_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_leases_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leases")),
    )
    op.create_index(op.f("ix_leases_task_id"), "leases", ["task_id"])
    op.create_table(
        "epochs",
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_epochs_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_epochs")),
    )

"""What a task is at, what its error is about, and what it did."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Applies it."""
    op.add_column(
        "tasks", sa.Column("doing", sa.String(length=255), nullable=False, server_default="")
    )
    op.add_column(
        "tasks", sa.Column("error_object", sa.String(length=255), nullable=False, server_default="")
    )
    op.add_column("tasks", sa.Column("result", sa.JSON(), nullable=True))

"""What waits to be freed, and how collections ended."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Applies it."""
    op.create_table(
        "collections",
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("wanted_since", sa.DateTime(), nullable=True),
        sa.Column("tried_at", sa.DateTime(), nullable=True),
        sa.Column("why_not", sa.Text(), nullable=False, server_default=""),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.Column("alarmed_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_collections_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_collections")),
    )

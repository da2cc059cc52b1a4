"""What servers had when they were backed up."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Applies it."""
    for name, kind in (("vcpus", sa.Integer()), ("memory_bytes", sa.BigInteger())):
        op.add_column("backups", sa.Column(name, kind, nullable=False, server_default="0"))

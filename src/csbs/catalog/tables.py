"""The tables.  What changes here needs a migration (a test compares both)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine

from csbs.domain.texts import usable

#: Names for all constraints, so that migrations can name what they change.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant.  SQLite would drop the time zone in silence, so it is UTC on both ways."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC, without a zone."""
        del dialect
        if value is None:
            return None
        assert value.tzinfo is not None, "an instant needs a time zone"
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """With the zone UTC."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


class _Text(TypeDecorator[str]):
    """See `text`."""

    impl = String
    cache_ok = True

    def __init__(self, size: int | None = None) -> None:
        super().__init__(size)
        self.size = size

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """What keeps it there."""
        collation = "C" if dialect.name == "postgresql" else None
        if self.size is None:
            return Text(collation=collation)
        return String(self.size, collation=collation)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """As it is.  Raises `TextUnusable`."""
        del dialect
        return None if value is None else usable(value)


class _LongText(_Text):
    impl = Text
    cache_ok = True


def text(size: int | None = None) -> TypeDecorator[str]:
    """Text that is compared and sorted by code points, as Python does, on both databases.

    A database of PostgreSQL has an order of its own, such as that of a language.  What one of the
    two would not take raises `TextUnusable`.
    """
    return _LongText() if size is None else _Text(size)


def _project() -> Column[str]:
    return Column("project_id", text(32), ForeignKey("projects.id"), nullable=False)


#: One row: who this catalog is.  The id is what owns repositories.
identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("catalog_id", text(36), nullable=False),
    Column("region", text(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("id", text(32), primary_key=True),
    Column("name", text(64), nullable=False, unique=True),
)

#: Projects that are gone, and whose repositories still have to go.
deleted_projects = Table(
    "deleted_projects",
    metadata,
    Column("id", text(32), primary_key=True),
    Column("name", text(64), nullable=False),
    Column("deleted_at", UtcDateTime, nullable=False),
)

servers = Table(
    "servers",
    metadata,
    Column("id", text(36), primary_key=True),
    _project(),
    Column("name", text(255), nullable=False),
    #: The backup whose restore was begun and not finished; the server must not start meanwhile.
    Column("restoring_backup_id", text(36)),
    #: What `autostart` was before that restore switched it off.
    Column("autostart", Boolean, nullable=False, default=False),
    #: Its file systems are frozen although its agent starts no watchdog.
    Column("freeze_without_watchdog", Boolean, nullable=False, default=False),
    #: TrackingPoints that nobody needs may still be at the host.
    Column("retire_owed", Boolean, nullable=False, default=False),
    #: Somebody took it out of a policy: no rule of tags binds it again.
    Column("keep_unbound", Boolean, nullable=False, default=False),
)

disks = Table(
    "disks",
    metadata,
    Column("id", text(36), primary_key=True),
    _project(),
    Column("server_id", text(36), ForeignKey("servers.id"), nullable=False, index=True),
    Column("target", text(32), nullable=False),
    Column("source", text()),
    Column("size_bytes", BigInteger, nullable=False),
    Column("serial", text(255)),
    Column("backing", text()),
    Column("wwn", text(32)),
    #: The newest TrackingPoint of the disk: its token.
    Column("tracking_name", text(64)),
    Column("tracking_backup_id", text(36)),
    Column("tracking_size_bytes", BigInteger),
    Column("tracking_image_identity", text()),
    #: A backup of it was deleted at some time: where it has none now, that is why.
    Column("had_deletion", Boolean, nullable=False, default=False),
)

backups = Table(
    "backups",
    metadata,
    Column("id", text(36), primary_key=True),
    _project(),
    Column("server_id", text(36), ForeignKey("servers.id"), nullable=False),
    Column("server_name", text(255), nullable=False),
    Column("name", text(255), nullable=False),
    Column("state", text(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("manifest_key", text(255), nullable=False),
    Column("tracking", text(64), nullable=False),
    Column("stored_bytes", BigInteger),
    Column("consistency_asked", text(16), nullable=False),
    Column("consistency_reached", text(16)),
    Column("consistency_reason", text(), nullable=False, default=""),
    Column("freeze", JSON),
    Column("fail_reason", text(), nullable=False, default=""),
    Column("fail_op", text(16)),
    Column("fail_code", text(64), nullable=False, default=""),
    Column("description", text(), nullable=False, default=""),
    #: The run that made it.
    Column("checkpoint_id", text(36), nullable=False),
    Column("policy_id", text(36)),
    Column("auto_trigger", Boolean, nullable=False, default=False),
    #: What the server had.
    Column("vcpus", Integer, nullable=False, default=0),
    Column("memory_bytes", BigInteger, nullable=False, default=0),
    # What pages of lists are sorted by or found by (`csbs.catalog.backup_lists`).
    Index("ix_backups_project_id_created_at", "project_id", "created_at"),
    Index("ix_backups_project_id_name", "project_id", "name"),
    Index("ix_backups_project_id_state_created_at", "project_id", "state", "created_at"),
    Index("ix_backups_project_id_server_id_created_at", "project_id", "server_id", "created_at"),
    Index("ix_backups_project_id_server_name", "project_id", "server_name"),
    Index("ix_backups_project_id_policy_id_created_at", "project_id", "policy_id", "created_at"),
    Index("ix_backups_project_id_checkpoint_id", "project_id", "checkpoint_id"),
)

disk_backups = Table(
    "disk_backups",
    metadata,
    Column("backup_id", text(36), ForeignKey("backups.id", ondelete="CASCADE"), primary_key=True),
    Column("disk_id", text(36), ForeignKey("disks.id"), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("target", text(32), nullable=False),
    Column("source", text()),
    Column("format", text(32), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("bootable", Boolean, nullable=False),
    Column("mode", text(16), nullable=False),
    Column("reason", text(), nullable=False),
    Column("read_bytes", BigInteger),
    Column("changed_bytes", BigInteger),
    Column("nonzero_bytes", BigInteger),
    Column("storage_bytes", BigInteger),
)

#: What else a disk's token speaks for: since this backup, only what the token's TrackingPoint
#: recorded and these blocks changed.
token_moves = Table(
    "token_moves",
    metadata,
    Column("disk_id", text(36), ForeignKey("disks.id"), primary_key=True),
    Column("backup_id", text(36), ForeignKey("backups.id", ondelete="CASCADE"), primary_key=True),
    Column("tracking_name", text(64), nullable=False),
    #: See `csbs.domain.block_set`.
    Column("blocks", LargeBinary, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", text(36), primary_key=True),
    _project(),
    Column("kind", text(16), nullable=False),
    Column("state", text(16), nullable=False),
    Column("server_id", text(36), ForeignKey("servers.id"), nullable=False),
    Column("server_name", text(255), nullable=False),
    Column("backup_id", text(36), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    #: What it is at, for people.
    Column("doing", text(255), nullable=False, default=""),
    Column("done_bytes", BigInteger, nullable=False, default=0),
    Column("total_bytes", BigInteger, nullable=False, default=0),
    Column("bytes_per_s", BigInteger),
    Column("left_s", BigInteger),
    Column("error_kind", text(32), nullable=False, default=""),
    Column("error_code", text(64), nullable=False, default=""),
    Column("error_object", text(255), nullable=False, default=""),
    Column("error_message", text(), nullable=False, default=""),
    #: What it was asked for; with it the task is begun again after a crash.
    Column("request", JSON, nullable=False, default=dict),
    #: What it did, as the API shows it.
    Column("result", JSON(none_as_null=True)),
    #: Set by anybody; the runner of the task looks at it once a second.
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("cancellable", Boolean, nullable=False, default=True),
    #: For people: how it came to be, where nobody asked for it.
    Column("note", Text, nullable=False, default=""),
    Index("ix_tasks_server_id_state", "server_id", "state"),
    Index("ix_tasks_project_id_created_at", "project_id", "created_at"),
    Index("ix_tasks_project_id_kind_created_at", "project_id", "kind", "created_at"),
    # Few are open, and old ones are pruned by their end.
    Index("ix_tasks_project_id_state_ended_at", "project_id", "state", "ended_at"),
    Index("ix_tasks_backup_id_created_at", "backup_id", "created_at"),
)

#: The journal of the local runner: which steps of a task began and ended, and when.
task_steps = Table(
    "task_steps",
    metadata,
    Column("task_id", text(36), ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("name", text(64), nullable=False),
    Column("began_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
)

#: What somebody uses of a repository right now (design of collection: docs/design/concurrency.md).
leases = Table(
    "leases",
    metadata,
    Column("id", text(36), primary_key=True),
    Column(
        "project_id",
        text(32),
        ForeignKey("projects.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("task_id", text(36), index=True),
    #: `writing` or `reading`.
    Column("kind", text(16), nullable=False),
    #: The project's epoch when the lease was given.
    Column("epoch", BigInteger, nullable=False),
    #: Where the writer's manifest will be; empty for readers.
    Column("manifest_key", text(255), nullable=False, default=""),
    #: Keys of the manifests that are used.
    Column("uses", JSON, nullable=False),
    Column("given_at", UtcDateTime, nullable=False),
)

#: What waits to be freed, and how collections ended (see `csbs.domain.collection`).
collections = Table(
    "collections",
    metadata,
    Column(
        "project_id", String(32), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("wanted_since", UtcDateTime),
    Column("tried_at", UtcDateTime),
    Column("why_not", Text, nullable=False, default=""),
    Column("ended_at", UtcDateTime),
    Column("alarmed_at", UtcDateTime),
)

#: How often a collection has raised the epoch of a project's repository.
epochs = Table(
    "epochs",
    metadata,
    Column("project_id", text(32), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
)

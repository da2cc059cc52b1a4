"""Tables of runs that the scheduler began, and of tags of servers."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, String, Table, Text, UniqueConstraint, text

from csbs.catalog.tables import UtcDateTime, metadata

_WAITING = text("state = 'waiting'")


def _policy() -> Column[str]:
    return Column(
        "policy_id", String(36), ForeignKey("policies.id", ondelete="CASCADE"), nullable=False
    )


#: Due times that were answered; a schedule has each at most once, whoever answers.
policy_runs = Table(
    "policy_runs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("project_id", String(32), ForeignKey("projects.id"), nullable=False),
    _policy(),
    #: No foreign key: a policy that is changed is written with all its schedules anew.
    Column("schedule_id", String(36), nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("note", Text, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    UniqueConstraint("schedule_id", "due_at"),
    Index("ix_policy_runs_policy_id_due_at", "policy_id", "due_at"),
)

#: The servers of each run.
server_runs = Table(
    "server_runs",
    metadata,
    Column(
        "run_id", String(36), ForeignKey("policy_runs.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("server_id", String(36), ForeignKey("servers.id"), primary_key=True),
    Column("project_id", String(32), ForeignKey("projects.id"), nullable=False),
    _policy(),
    Column("begins_at", UtcDateTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("backup_id", String(36)),
    Column("task_id", String(36)),
    Index("ix_server_runs_state_begins_at", "state", "begins_at"),
    # At most one waits.
    Index(
        "uq_server_runs_waiting",
        "server_id",
        "policy_id",
        unique=True,
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    ),
)

server_tags = Table(
    "server_tags",
    metadata,
    Column("server_id", String(36), ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(127), primary_key=True),
    Column("value", String(255), nullable=False),
)

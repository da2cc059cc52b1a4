"""Tables of events, of where they are sent, and of what is watched to find them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from csbs.catalog.tables import UtcDateTime, metadata


def _project() -> Column[str]:
    return Column(
        "project_id", String(32), ForeignKey("projects.id", ondelete="CASCADE"), nullable=False
    )


#: Written once, never changed, forgotten after a time.  Names are those of the time.
events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(36), nullable=False, unique=True),
    _project(),
    Column("kind", String(32), nullable=False),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("server_id", String(36)),
    Column("server_name", String(255)),
    Column("facts", JSON, nullable=False),
    Index("ix_events_project_id_number", "project_id", "number"),
    # A number is never given again: who has read up to one must not miss the next.
    sqlite_autoincrement=True,
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", String(36), primary_key=True),
    _project(),
    Column("name", String(64), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("url", Text, nullable=False),
    Column("recipients", JSON, nullable=False),
    Column("language", String(8), nullable=False),
    Column("kinds", JSON, nullable=False),
    #: Under the region key; it must be readable to sign.
    Column("sealed_secret", LargeBinary),
    Column("created_at", UtcDateTime, nullable=False),
    #: Failures in a row, and until when it is left alone.
    Column("failures", Integer, nullable=False),
    Column("next_at", UtcDateTime),
    Column("last_error", Text, nullable=False),
    Column("last_delivered_at", UtcDateTime),
    UniqueConstraint("project_id", "name"),
)

#: Which events go where, and how far they are.
deliveries = Table(
    "deliveries",
    metadata,
    Column(
        "notification_id",
        String(36),
        ForeignKey("notifications.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column(
        "event_number",
        Integer,
        ForeignKey("events.number", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("state", String(16), nullable=False),
    Column("ended_at", UtcDateTime),
    Column("error", Text, nullable=False),
    Index("ix_deliveries_state_notification_id", "state", "notification_id", "event_number"),
)

#: See `csbs.domain.rpo.RpoWatch`.
rpo_watches = Table(
    "rpo_watches",
    metadata,
    Column("server_id", String(36), ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True),
    _project(),
    #: No foreign key: what a policy that was deleted had promised is told of once more.
    Column("policy_id", String(36), nullable=False),
    Column("policy_name", String(255), nullable=False),
    Column("terms", String(64), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("promise_s", Integer, nullable=False),
    Column("broken_at", UtcDateTime),
)

#: See `csbs.domain.tracking_watch.TrackingWatch`.
tracking_watches = Table(
    "tracking_watches",
    metadata,
    Column("disk_id", String(36), ForeignKey("disks.id", ondelete="CASCADE"), primary_key=True),
    _project(),
    Column("backup_id", String(36), nullable=False),
    Column("was_tracked", Boolean, nullable=False),
    Column("without", Integer, nullable=False),
)

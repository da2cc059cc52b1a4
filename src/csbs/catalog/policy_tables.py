"""Tables of policies, tags and quotas."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    UniqueConstraint,
)

from csbs.catalog.tables import UtcDateTime, metadata, text

policies = Table(
    "policies",
    metadata,
    Column("id", text(36), primary_key=True),
    Column("project_id", text(32), ForeignKey("projects.id"), nullable=False),
    Column("name", text(255), nullable=False),
    Column("description", text(), nullable=False),
    Column("parameters", JSON, nullable=False),
    #: See `csbs.domain.consistency.ApplicationMode`.
    Column("application", Integer, nullable=False),
    #: Tags of servers that are bound by themselves, as `{key: value}`; null: none is.
    Column("auto_bind", JSON(none_as_null=True)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("project_id", "name"),
)

#: Servers of policies; a server belongs to one at most.
policy_servers = Table(
    "policy_servers",
    metadata,
    Column("server_id", text(36), ForeignKey("servers.id"), primary_key=True),
    Column(
        "policy_id",
        text(36),
        ForeignKey("policies.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("position", Integer, nullable=False),
    Column("kind", text(64), nullable=False),
    Column("name", text(255), nullable=False),
    Column("exclude_disks", JSON, nullable=False),
    Column("extra", JSON, nullable=False),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", text(36), primary_key=True),
    Column(
        "policy_id",
        text(36),
        ForeignKey("policies.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("position", Integer, nullable=False),
    Column("name", text(255), nullable=False),
    Column("description", text(), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("trigger_id", text(36), nullable=False),
    Column("trigger_name", text(255), nullable=False),
    Column("pattern", text(), nullable=False),
    Column("starts_at", UtcDateTime, nullable=False),
    #: When it is due next; null: it never runs by itself.
    Column("next_run_at", UtcDateTime, index=True),
    #: See `csbs.domain.policy.Retention`.
    Column("retention", JSON, nullable=False),
)

backup_tags = Table(
    "backup_tags",
    metadata,
    Column("backup_id", text(36), ForeignKey("backups.id", ondelete="CASCADE"), primary_key=True),
    Column("key", text(127), primary_key=True),
    Column("value", text(255), nullable=False),
    Index("ix_backup_tags_key_value", "key", "value"),
)

policy_tags = Table(
    "policy_tags",
    metadata,
    Column("policy_id", text(36), ForeignKey("policies.id", ondelete="CASCADE"), primary_key=True),
    Column("key", text(127), primary_key=True),
    Column("value", text(255), nullable=False),
)

#: What an administrator set; what is not here is as `csbs.domain.quota.Quotas` says.
quotas = Table(
    "quotas",
    metadata,
    Column("project_id", text(32), ForeignKey("projects.id"), primary_key=True),
    Column("resource", text(32), primary_key=True),
    #: None: no limit.
    Column("most", BigInteger),
)

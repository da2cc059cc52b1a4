"""Tables of who may do what, and of who did what."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from csbs.catalog.tables import UtcDateTime, metadata

users = Table(
    "users",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    #: By argon2, with its parameters and salt.
    Column("password_hash", String(255), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("user_id", String(32), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "project_id", String(32), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("role", String(16), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    #: SHA-256 of the token, which itself is kept nowhere.
    Column("digest", String(64), primary_key=True),
    Column(
        "user_id",
        String(32),
        ForeignKey("users.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("project_id", String(32), ForeignKey("projects.id", ondelete="CASCADE")),
    Column("of_domain", Boolean, nullable=False),
    #: Names joined by commas.
    Column("methods", String(64), nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("id", String(20), primary_key=True),
    Column(
        "user_id",
        String(32),
        ForeignKey("users.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("description", String(255), nullable=False),
    #: Under the region key; it must be readable to verify signatures.
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

#: Signatures of requests that changed something: each is good once.
used_signatures = Table(
    "used_signatures",
    metadata,
    Column("digest", String(64), primary_key=True),
    #: When its date is too old in any case.
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

#: Written once, never changed.  Names are those of the time; nothing here refers to a row.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("project_id", String(32)),
    Column("user_id", String(32), nullable=False),
    Column("user_name", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(255), nullable=False),
    Column("remote_address", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    #: `done`, or the kind of the error.
    Column("result", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_audit_events_project_id_id", "project_id", "id"),
)

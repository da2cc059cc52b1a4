"""Tables of who may do what, and of who did what."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
)

from csbs.catalog.tables import UtcDateTime, metadata, text

users = Table(
    "users",
    metadata,
    Column("id", text(32), primary_key=True),
    Column("name", text(64), nullable=False, unique=True),
    #: By argon2, with its parameters and salt.
    Column("password_hash", text(255), nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("user_id", text(32), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", text(32), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("role", text(16), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    #: SHA-256 of the token, which itself is kept nowhere.
    Column("digest", text(64), primary_key=True),
    Column(
        "user_id",
        text(32),
        ForeignKey("users.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("project_id", text(32), ForeignKey("projects.id", ondelete="CASCADE")),
    Column("of_domain", Boolean, nullable=False),
    #: Names joined by commas.
    Column("methods", text(64), nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("id", text(20), primary_key=True),
    Column(
        "user_id",
        text(32),
        ForeignKey("users.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("description", text(255), nullable=False),
    #: Under the region key; it must be readable to verify signatures.
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

#: Signatures of requests that changed something: each is good once.
used_signatures = Table(
    "used_signatures",
    metadata,
    Column("digest", text(64), primary_key=True),
    #: When its date is too old in any case.
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

#: Written once, never changed.  Names are those of the time; nothing here refers to a row.
audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("project_id", text(32)),
    Column("user_id", text(32), nullable=False),
    Column("user_name", text(64), nullable=False),
    Column("action", text(64), nullable=False),
    Column("target", text(255), nullable=False),
    Column("remote_address", text(64), nullable=False),
    Column("request_id", text(64), nullable=False),
    #: `done`, or the kind of the error.
    Column("result", text(32), nullable=False),
    Column("reason", text(), nullable=False),
    Index("ix_audit_events_project_id_id", "project_id", "id"),
)

"""Which backups a query of `checkpoint_items` means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from csbs.api.csbs_v1.wire.items import Item, updated_at
from csbs.api.csbs_v1.wire.queries import Query
from csbs.api.csbs_v1.wire.words import SERVER_TYPE
from csbs.api.errors import RequestInvalid

_STATES = frozenset(
    {
        "waiting_protect",
        "protecting",
        "available",
        "waiting_restore",
        "restoring",
        "error",
        "waiting_delete",
        "deleting",
        "deleted",
    }
)
_IMAGE_TYPES = frozenset({"backup", "replication"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilter:
    """What is asked for; None and empty: anything."""

    status: str | None
    resource_id: str | None
    checkpoint_id: str | None
    policy_id: str | None
    az: str | None
    image_type: str | None
    ip: str | None
    name: str | None
    resource_name: str | None
    resource_types: frozenset[str]
    start: datetime | None
    end: datetime | None
    dedicated: bool | None

    def __call__(self, item: Item) -> bool:
        """Whether the backup is meant."""
        backup = item.backup
        exact = (
            (self.status, backup.state.value),
            (self.resource_id, backup.server_id),
            (self.checkpoint_id, backup.checkpoint_id),
            (self.policy_id, backup.policy_id),
            (self.az, item.region),
            (self.image_type, "backup"),
            # No address of a server is known, and no cloud is a dedicated one.
            (self.ip, None),
            (self.dedicated, False),
        )
        within = (
            (self.name, backup.name),
            (self.resource_name, backup.server_name),
        )
        return (
            all(wanted is None or wanted == found for wanted, found in exact)
            and all(wanted is None or wanted in found for wanted, found in within)
            and (not self.resource_types or SERVER_TYPE in self.resource_types)
            and (self.start is None or self.start <= backup.created_at)
            and (self.end is None or backup.created_at <= self.end)
        )


def parse_item_filter(query: Query) -> ItemFilter:
    """The filter of a query.  Raises `RequestInvalid`."""
    query.flag("all_tenants")
    return ItemFilter(
        status=_one_of(query, "status", _STATES),
        resource_id=query.text("resource_id"),
        checkpoint_id=query.text("checkpoint_id"),
        policy_id=query.text("policy_id"),
        az=query.text("az"),
        image_type=_one_of(query, "image_type", _IMAGE_TYPES),
        ip=query.text("ip"),
        name=query.text("name"),
        resource_name=query.text("resource_name"),
        resource_types=query.texts("resource_type"),
        start=query.moment("start_time"),
        end=query.moment("end_time"),
        dedicated=query.flag("dec"),
    )


def sort_values(item: Item) -> dict[str, Any]:
    """What backups are sorted by."""
    backup = item.backup
    return {
        "id": backup.id,
        "created_at": backup.created_at,
        "updated_at": updated_at(item),
        "protected_at": backup.created_at,
        "name": backup.name,
        "status": backup.state.value,
    }


def _one_of(query: Query, name: str, known: frozenset[str]) -> str | None:
    value = query.text(name)
    if value is not None and value not in known:
        raise RequestInvalid(name, f"it must be one of {', '.join(sorted(known))}")
    return value

"""Which backups a query of `checkpoint_items` means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from csbs.api.csbs_v1.wire.queries import Query
from csbs.api.csbs_v1.wire.words import SERVER_TYPE
from csbs.api.errors import RequestInvalid
from csbs.catalog.backup_lists import BackupFilter
from csbs.domain.ids import CheckpointId, PolicyId, ServerId

T = TypeVar("T")

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


def parse_item_filter(query: Query, region: str) -> BackupFilter:
    """The filter of a query, where the region is the only availability zone.

    Raises `RequestInvalid`.
    """
    query.flag("all_tenants")
    server_id = _id(query, "resource_id", ServerId)
    return BackupFilter(
        state=_one_of(query, "status", _STATES),
        server_ids=None if server_id is None else [server_id],
        checkpoint_id=_id(query, "checkpoint_id", CheckpointId),
        policy_id=_id(query, "policy_id", PolicyId),
        name_part=query.text("name"),
        server_name_part=query.text("resource_name"),
        created_from=query.moment("start_time"),
        created_to=query.moment("end_time"),
        nothing=_is_of_none(query, region),
    )


def _is_of_none(query: Query, region: str) -> bool:
    """Whether something is asked for that no backup has."""
    types = query.texts("resource_type")
    return (
        query.text("az") not in {None, region}
        or _one_of(query, "image_type", _IMAGE_TYPES) not in {None, "backup"}
        # No address of a server is known, and no cloud is a dedicated one.
        or query.text("ip") is not None
        or query.flag("dec") is True
        or (bool(types) and SERVER_TYPE not in types)
    )


def _id(query: Query, name: str, kind: Callable[[str], T]) -> T | None:
    value = query.text(name)
    return None if value is None else kind(value)


def _one_of(query: Query, name: str, known: frozenset[str]) -> str | None:
    value = query.text(name)
    if value is not None and value not in known:
        raise RequestInvalid(name, f"it must be one of {', '.join(sorted(known))}")
    return value

"""Tags of backups and of policies."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from csbs.api.context import Changes, InProject, Reads
from csbs.api.csbs_v1.routes.request import Body, item_of
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.bodies import TagBody, TagsActionBody
from csbs.api.csbs_v1.wire.items import item_body, tags_body
from csbs.api.csbs_v1.wire.tag_bodies import parse_tag_query
from csbs.api.json_body import read_body
from csbs.domain.ids import BackupId
from csbs.domain.tags import checked_tag, checked_tags, tag_to_delete
from csbs.services.tags import Tagged, TagService

_calls = csbs_router()

_NO_CONTENT = 204


class Kind(StrEnum):
    """Whose tags they are."""

    BACKUP = "csbs_backup"
    POLICY = "csbs_backup_policy"


def _kind(request: Request) -> Kind:
    """As the path says: the calls lie below each of them."""
    return Kind(request.url.path.split("/")[3])


OwnKind = Annotated[Kind, Depends(_kind)]


@_calls.get("/tags")
def list_project_tags(here: Reads, kind: OwnKind) -> dict[str, Any]:
    """All keys in the project, with their values."""
    found = _tags(here, kind).in_project()
    return {"tags": [{"key": key, "values": values} for key, values in found.items()]}


@_calls.post("/resource_instances/action")
def find_tagged(here: Reads, kind: OwnKind, body: Body) -> dict[str, Any]:
    """Objects that have such tags, or how many."""
    asked = parse_tag_query(body)
    tags = _tags(here, kind)
    total = {"total_count": tags.count(asked.wanted)}
    if asked.count_only:
        return total
    shown = tags.matching(asked.wanted, limit=asked.limit, offset=asked.offset)
    return {"resources": _resources(here, kind, shown), **total}


@_calls.get("/{resource_id}/tags")
def list_tags(here: Reads, kind: OwnKind, resource_id: str) -> dict[str, Any]:
    """Tags of one object."""
    return {"tags": tags_body(_tags(here, kind).of(resource_id))}


@_calls.post("/{resource_id}/tags", status_code=_NO_CONTENT, response_class=Response)
def add_tag(here: Changes, kind: OwnKind, resource_id: str, body: Body) -> None:
    """One tag; the same key is overwritten."""
    tag = checked_tag(*read_body(TagBody, body).tag.pair)
    _tags(here, kind).give(resource_id, [tag])


@_calls.post("/{resource_id}/tags/action", status_code=_NO_CONTENT, response_class=Response)
def change_tags(here: Changes, kind: OwnKind, resource_id: str, body: Body) -> None:
    """Several tags at once."""
    wanted = read_body(TagsActionBody, body)
    pairs = [part.pair for part in wanted.tags]
    if wanted.action == "create":
        _tags(here, kind).give(resource_id, checked_tags(pairs))
    else:
        keys = {tag_to_delete(*pair).key for pair in pairs}
        _tags(here, kind).take(resource_id, keys)


@_calls.delete("/{resource_id}/tags/{key}", status_code=_NO_CONTENT, response_class=Response)
def delete_tag(here: Changes, kind: OwnKind, resource_id: str, key: str) -> None:
    """One tag; one that is absent is an error."""
    _tags(here, kind).take_one(resource_id, tag_to_delete(key, "").key)


def _tags(here: InProject, kind: Kind) -> TagService:
    protection = here.app.protection
    return protection.backup_tags if kind is Kind.BACKUP else protection.policy_tags


def _resources(here: InProject, kind: Kind, shown: Sequence[Tagged]) -> list[dict[str, Any]]:
    details: dict[str, dict[str, Any]] = {}
    if kind is Kind.BACKUP:
        views = here.app.protection.views.by_ids([BackupId(each.id) for each in shown])
        details = {found: item_body(item_of(here, view)) for found, view in views.items()}
    return [
        {
            "resource_id": each.id,
            "resource_name": each.name,
            "resource_detail": details.get(each.id, {}),
            "tags": tags_body(each.tags),
        }
        for each in shown
    ]


router = csbs_router()
for each_kind in Kind:
    router.include_router(_calls, prefix=f"/{each_kind}")

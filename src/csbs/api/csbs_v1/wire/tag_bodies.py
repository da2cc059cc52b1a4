"""Bodies about tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from csbs.api.csbs_v1.wire.bodies import Label, Number, TagPart
from csbs.api.errors import RequestInvalid
from csbs.api.json_body import Body, read_body
from csbs.domain.listing import PAGE_SIZE_MAX
from csbs.domain.tags import (
    FILTER_KEYS_MAX,
    FILTER_VALUES_MAX,
    Tag,
    TagFilter,
    checked_tags,
)

_OFFSET_MAX = 10_000_000


class _Wanted(Body):
    key: Label
    values: Annotated[list[Label], Field(max_length=FILTER_VALUES_MAX)] | None = None


class _Match(Body):
    key: Label
    value: Label


_WantedList = Annotated[list[_Wanted], Field(max_length=FILTER_KEYS_MAX)]


class _FilterBody(Body):
    action: Label
    limit: Number | None = None
    offset: Number | None = None
    tags: _WantedList | None = None
    tags_any: _WantedList | None = None
    not_tags: _WantedList | None = None
    not_tags_any: _WantedList | None = None
    matches: Annotated[list[_Match], Field(max_length=FILTER_KEYS_MAX)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagQuery:
    """Which objects are asked for, and how many of them."""

    wanted: TagFilter
    count_only: bool
    limit: int
    offset: int


def tags_of(parts: Sequence[TagPart] | None) -> tuple[Tag, ...]:
    """Tags that are given with an object.  Raises `InvalidTag`."""
    return checked_tags(part.pair for part in parts or ())


def parse_tag_query(data: bytes) -> TagQuery:
    """POST /{kind}/resource_instances/action.  Raises `RequestInvalid`."""
    body = read_body(_FilterBody, data)
    if body.action not in {"filter", "count"}:
        raise RequestInvalid("action", "it must be filter or count")
    limit = PAGE_SIZE_MAX if body.limit is None else body.limit
    if not 1 <= limit <= PAGE_SIZE_MAX:
        raise RequestInvalid("limit", f"it must be 1 to {PAGE_SIZE_MAX}")
    if not 0 <= (body.offset or 0) <= _OFFSET_MAX:
        raise RequestInvalid("offset", f"it must be 0 to {_OFFSET_MAX}")
    return TagQuery(
        wanted=TagFilter(
            tags=_by_key("tags", body.tags),
            tags_any=_by_key("tags_any", body.tags_any),
            not_tags=_by_key("not_tags", body.not_tags),
            not_tags_any=_by_key("not_tags_any", body.not_tags_any),
            name_part=_name_part(body.matches or ()),
        ),
        count_only=body.action == "count",
        limit=limit,
        offset=body.offset or 0,
    )


def _by_key(place: str, wanted: Sequence[_Wanted] | None) -> dict[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}
    for each in wanted or ():
        key = each.key.strip()
        if not key or key in found:
            raise RequestInvalid(place, "its keys must be there, each once")
        found[key] = each.values or ()
    return found


def _name_part(matches: Sequence[_Match]) -> str:
    for each in matches:
        if each.key != "resource_name":
            raise RequestInvalid("matches", "its key must be resource_name")
    return matches[0].value if matches else ""

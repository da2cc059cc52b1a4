"""Backups: list, count, show."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from csbs.api.context import InProject, Reads
from csbs.api.csbs_v1.routes.request import ListQuery, item_of, linked
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.item_query import parse_item_filter, sort_values
from csbs.api.csbs_v1.wire.items import Item, item_body
from csbs.api.csbs_v1.wire.queries import Query, page_of
from csbs.domain.ids import BackupId

router = csbs_router(prefix="/checkpoint_items")


@router.get("")
def list_items(here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """A page of the project's backups."""
    page = page_of(_items(here), query, values=sort_values, wanted=parse_item_filter(query))
    return linked(request, "checkpoint_items", page, [item_body(item) for item in page.rows])


# Before the path with an id, which would take it.
@router.get("/count")
def count_items(here: Reads, query: ListQuery) -> dict[str, Any]:
    """How many the filter means; sorting and paging say nothing here."""
    return {"count": _count(here, query)}


@router.get("/{item_id}")
def show_item(here: Reads, item_id: str) -> dict[str, Any]:
    """One backup."""
    view = here.app.protection.views.get(BackupId(item_id))
    return {"checkpoint_item": item_body(item_of(here, view))}


def _count(here: InProject, query: Query) -> int:
    wanted = parse_item_filter(query)
    return sum(wanted(item) for item in _items(here))


def _items(here: InProject) -> list[Item]:
    return [item_of(here, view) for view in here.app.protection.views.list_all()]

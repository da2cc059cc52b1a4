"""Backups: list, count, show."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from csbs.api.context import Reads
from csbs.api.csbs_v1.routes.request import ListQuery, is_of_all_projects, item_of, linked
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.item_query import parse_item_filter
from csbs.api.csbs_v1.wire.items import item_body
from csbs.api.csbs_v1.wire.queries import parse_listing, slice_page
from csbs.domain.ids import BackupId

router = csbs_router(prefix="/checkpoint_items")


@router.get("")
def list_items(here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """A page of the project's backups."""
    wanted = parse_item_filter(query, here.region.name)
    listing, protection = parse_listing(query), here.app.protection
    if is_of_all_projects(here, query):
        found = protection.all_projects.backups(wanted, listing)
    else:
        found = protection.views.page(wanted, listing)
    page = slice_page(found, query, lambda view: view.backup.id)
    bodies = [item_body(item_of(here, view)) for view in page.rows]
    return linked(request, "checkpoint_items", page, bodies)


# Before the path with an id, which would take it.
@router.get("/count")
def count_items(here: Reads, query: ListQuery) -> dict[str, Any]:
    """How many the filter means; sorting and paging say nothing here."""
    wanted = parse_item_filter(query, here.region.name)
    protection = here.app.protection
    if is_of_all_projects(here, query):
        return {"count": protection.all_projects.count_backups(wanted)}
    return {"count": protection.views.count(wanted)}


@router.get("/{item_id}")
def show_item(here: Reads, item_id: str) -> dict[str, Any]:
    """One backup."""
    view = here.app.protection.views.get(BackupId(item_id))
    return {"checkpoint_item": item_body(item_of(here, view))}

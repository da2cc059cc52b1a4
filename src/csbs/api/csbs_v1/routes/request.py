"""What the calls take from a request."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends, Path, Request

from csbs.api.context import InProject, public_url
from csbs.api.csbs_v1.wire.items import Item
from csbs.api.csbs_v1.wire.queries import Page, Query
from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.api.errors import RequestInvalid
from csbs.domain.tenancy import Role
from csbs.services.backup_views import BackupView

T = TypeVar("T")


def _body(request: Request) -> bytes:
    body: bytes = request.state.body
    return body


def _query(request: Request) -> Query:
    return Query(request.query_params.multi_items())


def _provider(provider_id: Annotated[str, Path()]) -> str:
    if provider_id != PROVIDER_ID:
        raise RequestInvalid("provider_id", "there is no such provider")
    return provider_id


Body = Annotated[bytes, Depends(_body)]
ListQuery = Annotated[Query, Depends(_query)]
#: For routers whose paths have it.
OWN_PROVIDER = Depends(_provider)


def is_of_all_projects(here: InProject, query: Query) -> bool:
    """Whether `all_tenants` is asked for by one who may; of others it says nothing."""
    return query.flag("all_tenants") is True and here.caller.may(Role.ADMIN)


def item_of(here: InProject, view: BackupView) -> Item:
    """A backup as the protocol shows it."""
    return Item(backup=view.backup, task=view.task, tags=view.tags, region=here.region.name)


def linked(request: Request, key: str, page: Page[T], bodies: list[Any]) -> dict[str, Any]:
    """A list with the link to its next page, which is absent on the last."""
    answer: dict[str, Any] = {key: bodies}
    links = page.links(public_url(request) + request.url.path)
    if links:
        answer[f"{key}_links"] = links
    return answer

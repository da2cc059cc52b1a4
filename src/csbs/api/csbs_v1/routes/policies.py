"""Policies."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from csbs.api.context import Changes, Reads
from csbs.api.csbs_v1.routes.request import Body, ListQuery, is_of_all_projects, linked
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.policies import policy_body
from csbs.api.csbs_v1.wire.policy_bodies import parse_new_policy, parse_policy_change
from csbs.api.csbs_v1.wire.policy_query import parse_policy_filter
from csbs.api.csbs_v1.wire.queries import parse_listing, slice_page
from csbs.domain.ids import PolicyId

router = csbs_router(prefix="/policies")


@router.post("")
def create_policy(here: Changes, body: Body) -> dict[str, Any]:
    """Makes one."""
    return {"policy": policy_body(here.app.protection.policies.create(parse_new_policy(body)))}


@router.get("")
def list_policies(here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """A page of the project's policies."""
    name, listing = parse_policy_filter(query), parse_listing(query)
    if is_of_all_projects(here, query):
        found = here.app.protection.all_projects.policies(name, listing)
    else:
        found = here.app.protection.policies.page(name, listing)
    page = slice_page(found, query, lambda policy: policy.id)
    return linked(request, "policies", page, [policy_body(each) for each in page.rows])


@router.get("/{policy_id}")
def show_policy(here: Reads, policy_id: str) -> dict[str, Any]:
    """One policy."""
    return {"policy": policy_body(here.app.protection.policies.get(PolicyId(policy_id)))}


@router.put("/{policy_id}")
def change_policy(here: Changes, policy_id: str, body: Body) -> dict[str, Any]:
    """Changes what is given."""
    wanted = parse_policy_change(body)
    return {"policy": policy_body(here.app.protection.policies.change(PolicyId(policy_id), wanted))}


@router.delete("/{policy_id}")
def delete_policy(here: Changes, policy_id: str) -> dict[str, Any]:
    """Deletes it; its backups stay."""
    here.app.protection.policies.delete(PolicyId(policy_id))
    return {}

"""Karbor's plans: policies, in its words."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from csbs.api.context import Changes, Reads
from csbs.api.csbs_v1.routes.request import Body, ListQuery, is_of_all_projects, linked
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.policies import plan_body
from csbs.api.csbs_v1.wire.policy_bodies import parse_new_plan, parse_plan_change
from csbs.api.csbs_v1.wire.policy_query import parse_policy_filter
from csbs.api.csbs_v1.wire.queries import parse_listing, slice_page
from csbs.domain.ids import PolicyId

router = csbs_router(prefix="/plans")


@router.post("")
def create_plan(here: Changes, body: Body) -> dict[str, Any]:
    """Makes a policy that runs only when somebody asks."""
    return {"plan": plan_body(here.app.protection.policies.create(parse_new_plan(body)))}


@router.get("")
def list_plans(here: Reads, request: Request, query: ListQuery) -> dict[str, Any]:
    """A page of the project's policies."""
    name, listing = parse_policy_filter(query), parse_listing(query)
    if is_of_all_projects(here, query):
        found = here.app.protection.all_projects.policies(name, listing)
    else:
        found = here.app.protection.policies.page(name, listing)
    page = slice_page(found, query, lambda policy: policy.id)
    return linked(request, "plans", page, [plan_body(each) for each in page.rows])


@router.get("/{plan_id}")
def show_plan(here: Reads, plan_id: str) -> dict[str, Any]:
    """One policy."""
    return {"plan": plan_body(here.app.protection.policies.get(PolicyId(plan_id)))}


@router.put("/{plan_id}")
def change_plan(here: Changes, plan_id: str, body: Body) -> dict[str, Any]:
    """Changes what is given."""
    wanted = parse_plan_change(body)
    return {"plan": plan_body(here.app.protection.policies.change(PolicyId(plan_id), wanted))}


@router.delete("/{plan_id}")
def delete_plan(here: Changes, plan_id: str) -> dict[str, Any]:
    """Deletes it; its backups stay."""
    here.app.protection.policies.delete(PolicyId(plan_id))
    return {}

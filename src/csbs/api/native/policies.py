"""Policies of a project, and tags of its servers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from csbs.api.context import Changes, Reads
from csbs.api.native.paging import LIMIT_DEFAULT, AfterPlace, Limit, by_age, next_by_age
from csbs.api.native.region import ServerName
from csbs.documents import policy_calls as calls
from csbs.documents.base import DeletedObject
from csbs.documents.policies import (
    BegunDocument,
    NewPolicyBody,
    PolicyChangeBody,
    PolicyDetails,
    PolicyPage,
    PolicyRunBody,
    ServersBody,
    ServerTagsBody,
    ServerTagsDocument,
)
from csbs.domain.tenancy import Role

router = APIRouter(prefix="/projects/{project_id}", tags=["policies"])

PolicyName = Annotated[
    str,
    Path(max_length=255, description="Id, unique prefix of 8 or more, or name of a policy."),
]


@router.get("/policies")
def list_policies(here: Reads, after: AfterPlace = "", limit: Limit = LIMIT_DEFAULT) -> PolicyPage:
    """The project's policies, oldest first."""
    page = here.app.protection.policies.page(None, by_age(after, limit))
    return PolicyPage(policies=calls.documents(here.app, page.rows), next=next_by_age(page))


@router.post("/policies", status_code=201)
def create_policy(body: NewPolicyBody, here: Changes) -> PolicyDetails:
    """Makes a policy, and binds its servers."""
    return calls.created(here.app, body)


@router.get("/policies/{policy}")
def show_policy(policy: PolicyName, here: Reads) -> PolicyDetails:
    """One policy, with its newest runs."""
    return calls.detailed(here.app, policy)


@router.patch("/policies/{policy}")
def change_policy(policy: PolicyName, body: PolicyChangeBody, here: Changes) -> PolicyDetails:
    """Changes what is given; takes effect at once."""
    return calls.changed(here.app, policy, body)


@router.delete("/policies/{policy}")
def delete_policy(policy: PolicyName, here: Changes) -> DeletedObject:
    """Deletes a policy; its servers are free, its backups stay."""
    return calls.deleted(here.app, policy)


@router.post("/policies/{policy}/bind")
def bind_servers(policy: PolicyName, body: ServersBody, here: Changes) -> PolicyDetails:
    """Binds servers to a policy; a server belongs to one at most."""
    return calls.bound(here.app, policy, body)


@router.post("/policies/{policy}/unbind")
def unbind_servers(policy: PolicyName, body: ServersBody, here: Changes) -> PolicyDetails:
    """Lets servers go: what waits of them is ended, their backups stay."""
    return calls.unbound(here.app, policy, body)


@router.post("/policies/{policy}/run", status_code=202)
def run_policy(policy: PolicyName, body: PolicyRunBody, here: Changes) -> BegunDocument:
    """Begins backups of a policy's servers now, whether it is on or off."""
    return calls.begun(here.app, policy, body, operator=here.caller.may(Role.ADMIN))


@router.get("/servers/{server}/tags")
def show_server_tags(server: ServerName, here: Reads) -> ServerTagsDocument:
    """A server's tags, and the policy that it belongs to."""
    return calls.tags_of(here.app, server)


@router.post("/servers/{server}/tags")
def change_server_tags(
    server: ServerName, body: ServerTagsBody, here: Changes
) -> ServerTagsDocument:
    """Gives a server tags, and takes some away; a policy with a rule for them binds it."""
    return calls.tagged(here.app, server, body)

"""Users, their roles in projects, their keys.  `me` stands for the caller himself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from csbs.api.context import Administers, InRegion, Known
from csbs.api.native.paging import LIMIT_DEFAULT, After, Limit, next_by_name
from csbs.documents.identity import (
    KeyDocument,
    KeyList,
    NewKey,
    NewKeyDocument,
    NewUser,
    PasswordChange,
    RoleBody,
    RoleInProject,
    UserChange,
    UserDetails,
    UserDocument,
    UserPage,
)
from csbs.domain.tenancy import Role, User

router = APIRouter(tags=["users"])

UserId = Annotated[
    str, Path(max_length=64, description="Id or name of a user; `me` is the caller.")
]
ProjectName = Annotated[str, Path(max_length=64, description="Id or name of a project.")]
KeyId = Annotated[str, Path(max_length=64, description="Id of an access key.")]

_ME = "me"


@router.get("/users")
def list_users(here: Administers, after: After = "", limit: Limit = LIMIT_DEFAULT) -> UserPage:
    """All users, by name."""
    page = here.region.users.page(after, limit)
    return UserPage(users=[UserDocument.of(each) for each in page.rows], next=next_by_name(page))


@router.post("/users", status_code=201)
def create_user(body: NewUser, here: Administers) -> UserDetails:
    """Makes a user, without a role in any project."""
    user = here.region.users.create(body.name, body.password, is_admin=body.is_admin)
    return UserDetails.with_roles(user, [])


@router.put("/users/me/password", status_code=204)
def change_own_password(body: PasswordChange, here: Known) -> None:
    """Changes the caller's own password; all his tokens end."""
    region = here.region
    region.identity.check_password(here.user, body.old, address=here.caller.remote_address)
    region.users.set_password(here.user.id, body.new)


@router.get("/users/{user}")
def show_user(user: UserId, here: Known) -> UserDetails:
    """A user with his roles: oneself, or any for an administrator."""
    found = _user(here, user)
    return UserDetails.with_roles(found, here.region.users.memberships(found.id))


@router.patch("/users/{user}")
def change_user(user: UserId, body: UserChange, here: Administers) -> UserDetails:
    """Changes a user; another password, or none to log in with, ends all his tokens."""
    users, found = here.region.users, _user(here, user)
    if body.password is not None:
        users.set_password(found.id, body.password)
    changed = users.set_rights(found.id, enabled=body.enabled, is_admin=body.is_admin)
    return UserDetails.with_roles(changed, users.memberships(found.id))


@router.delete("/users/{user}", status_code=204)
def delete_user(user: UserId, here: Administers) -> None:
    """Deletes a user, with his tokens, keys and roles."""
    here.region.users.delete(_user(here, user).id)


@router.put("/users/{user}/roles/{project}")
def set_role(
    user: UserId, project: ProjectName, body: RoleBody, here: Administers
) -> RoleInProject:
    """Gives a user a role in a project, instead of the one he has there."""
    membership = here.region.users.set_role(_user(here, user).id, project, body.role)
    assert membership is not None
    return RoleInProject.of(membership)


@router.delete("/users/{user}/roles/{project}", status_code=204)
def take_role(user: UserId, project: ProjectName, here: Administers) -> None:
    """Takes a user's role in a project."""
    here.region.users.set_role(_user(here, user).id, project, None)


@router.get("/users/{user}/keys")
def list_keys(user: UserId, here: Known) -> KeyList:
    """A user's access keys, without their secrets."""
    keys = here.region.access_keys.of_user(_user(here, user).id)
    return KeyList(keys=[KeyDocument.of(each) for each in keys])


@router.post("/users/{user}/keys", status_code=201)
def create_key(user: UserId, body: NewKey, here: Known) -> NewKeyDocument:
    """Makes an access key; its secret is in this answer and nowhere else."""
    key, secret = here.region.access_keys.create(_user(here, user), body.description)
    return NewKeyDocument.with_secret(key, secret)


@router.delete("/users/{user}/keys/{key}", status_code=204)
def delete_key(user: UserId, key: KeyId, here: Known) -> None:
    """Deletes an access key: it signs nothing any more."""
    here.region.access_keys.delete(key, owner=_user(here, user).id)


@router.delete("/keys/{key}", status_code=204)
def delete_any_key(key: KeyId, here: Known) -> None:
    """Deletes an access key of the caller, or anybody's for an administrator."""
    owner = None if here.caller.may(Role.ADMIN) else here.user.id
    here.region.access_keys.delete(key, owner=owner)


def _user(here: InRegion, wanted: str) -> User:
    """Oneself, or any for an administrator."""
    if wanted in {_ME, here.user.id, here.user.name}:
        return here.user
    here.require(Role.ADMIN)
    return here.region.users.find(wanted)

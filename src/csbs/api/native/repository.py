"""The repository of one project: what it is, freeing its space, verifying it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from csbs.api.context import AdministersProject
from csbs.documents.repository import ChoreDocument, NewVerification, RepositoryDocument
from csbs.repository import EVERYTHING, parse_share
from csbs.services.verification import VerifyRequest

router = APIRouter(prefix="/projects/{project_id}/repository", tags=["repository"])

ChoreId = Annotated[str, Path(max_length=64, description="Id of a chore.")]


@router.get("")
def show_repository(here: AdministersProject) -> RepositoryDocument:
    """Where the repository is, and what is in it."""
    return RepositoryDocument.of(here.app.stores.show())


@router.post("")
def make_repository(here: AdministersProject) -> RepositoryDocument:
    """Makes the repository; one that is there stays as it is.  The first backup does so too."""
    return RepositoryDocument.of(here.app.stores.init())


@router.post("/collections", status_code=202)
def collect(here: AdministersProject) -> ChoreDocument:
    """Begins to free the space of deleted and failed backups."""
    return ChoreDocument.of(here.app.chores.collect())


@router.post("/verifications", status_code=202)
def verify(body: NewVerification, here: AdministersProject) -> ChoreDocument:
    """Begins to check that all is there that backups need, as it was written."""
    share = EVERYTHING if body.everything else body.share and parse_share(body.share)
    request = VerifyRequest(share=share or None, with_keys=not body.without_keys)
    return ChoreDocument.of(here.app.chores.verify(request))


@router.get("/chores/{chore}")
def show_chore(chore: ChoreId, here: AdministersProject) -> ChoreDocument:
    """A collection or verification of this life of the service."""
    return ChoreDocument.of(here.app.chores.get(chore))


@router.post("/chores/{chore}/cancel", status_code=202)
def cancel_chore(chore: ChoreId, here: AdministersProject) -> ChoreDocument:
    """Asks for the stop of a collection or verification."""
    return ChoreDocument.of(here.app.chores.cancel(chore))

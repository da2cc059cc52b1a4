"""What a policy keeps and removes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from csbs.api.context import Reads
from csbs.api.native.policies import PolicyName
from csbs.documents.policy_calls import previewed
from csbs.documents.previews import PreviewDocument

router = APIRouter(prefix="/projects/{project_id}", tags=["policies"])

At = Annotated[
    AwareDatetime | None,
    Query(description="As of this instant, from now on; each run until then is taken to end well."),
]


@router.get("/policies/{policy}/preview")
def preview_policy(policy: PolicyName, here: Reads, at: At = None) -> PreviewDocument:
    """Which backups a policy keeps and removes, why, and what space that gives back."""
    instant: datetime | None = at
    return previewed(here.app, policy, instant)

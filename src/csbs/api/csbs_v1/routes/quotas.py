"""What the project may have, and what it has."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from csbs.api.context import Reads
from csbs.api.csbs_v1.wire.quotas import quotas_body

router = APIRouter()


@router.get("/quotas")
def show_quotas(here: Reads) -> dict[str, Any]:
    """Of backups."""
    return quotas_body(*here.app.protection.quotas.show())

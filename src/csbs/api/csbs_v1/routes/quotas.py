"""What the project may have, and what it has."""

from __future__ import annotations

from typing import Any

from csbs.api.context import Reads
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.quotas import quotas_body

router = csbs_router()


@router.get("/quotas")
def show_quotas(here: Reads) -> dict[str, Any]:
    """Of backups."""
    return quotas_body(*here.app.protection.quotas.show())

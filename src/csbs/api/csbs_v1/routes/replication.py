"""What this region has not: copies in other regions, dedicated clouds.

Clients ask for it all the same, and take these answers for "nothing there".
"""

from __future__ import annotations

from typing import Any

from csbs.api.context import Changes, Reads
from csbs.api.csbs_v1.routes.request import OWN_PROVIDER
from csbs.api.csbs_v1.routes.router import csbs_router
from csbs.api.csbs_v1.wire.codes import NotSupported
from csbs.domain.ids import BackupId

router = csbs_router()
_own = csbs_router(prefix="/providers/{provider_id}", dependencies=[OWN_PROVIDER])


@router.get("/replication_capabilities")
def list_capabilities(_here: Reads) -> dict[str, Any]:
    """Regions that backups can be copied to."""
    return {"regions": []}


@router.get("/replication_records")
def list_replications(_here: Reads) -> dict[str, Any]:
    """Copies that were made."""
    return {"count": 0, "replication_records": []}


@_own.post("/checkpoint_items/{item_id}/replicate")
def replicate_item(here: Changes, item_id: str) -> None:
    """Copy one backup."""
    here.app.protection.views.get(BackupId(item_id))
    raise NotSupported("Replication")


@_own.post("/checkpoints/replicate")
def replicate_policy(_here: Changes) -> None:
    """Copy what a policy made."""
    raise NotSupported("Replication")


@router.get("/protect_config")
def show_dedicated_cloud(here: Reads) -> dict[str, Any]:
    """There is no dedicated cloud."""
    return {
        "protect_config": {
            "id": here.project_id,
            "project_id": here.project_id,
            "dec_enable": False,
            "dec_capacity": 0,
            "dec_used_capacity": 0,
        }
    }


@router.get("/protection_capabilities")
def show_capabilities(_here: Reads) -> dict[str, Any]:
    """What a console asks beside quotas; its shape was never published."""
    return {"protection_capabilities": {"app_consistency": False, "replication": False}}


router.include_router(_own)

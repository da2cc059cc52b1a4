"""python-karborclient works unchanged, by password and by token."""

from __future__ import annotations

from typing import Any

import pytest

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.testing.live_api import ADMIN_PASSWORD
from tests.integration.clients.conftest import Served
from tests.integration.clients.environments import drive


def password(served: Served) -> dict[str, Any]:
    auth = {
        "auth_url": served.keystone,
        "username": "admin",
        "password": ADMIN_PASSWORD,
        "project_name": "local",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    return {"auth": auth}


def token(served: Served) -> dict[str, Any]:
    endpoint = f"{served.api.url}/v1/{served.api.project_id}"
    return {"endpoint": endpoint, "token": served.api.log_in()}


@pytest.mark.parametrize("connect", [password, token])
def test_a_whole_day(served: Served, connect: Any) -> None:
    job = {"server": served.server.id, "project": served.api.project_id}

    done = drive("karbor", {**connect(served), **job})

    assert done["providers"] == [PROVIDER_ID]
    assert done["protectables"] == ["OS::Nova::Server"]
    assert served.server.id in done["instances"]
    assert done["disks"] == 2
    assert done["quota"] == 32
    assert done["plans"] == [[done["plan"], "renamed", "suspended"]]
    assert (done["triggers"], done["operations"]) == (0, 0)
    assert done["status"] == "available"
    assert done["checkpoints"] == [done["checkpoint"]]
    assert done["restore"] == ["success", done["checkpoint"]]
    assert True in done["restores"]
    assert done["gone"] is True
    assert ["restore", "success"] in done["logs"]
    assert ["delete", "deleted"] in done["logs"]
    assert done["plans_at_the_end"] == 0

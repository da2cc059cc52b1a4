"""huaweicloud-sdk-python works unchanged, in all its ways to log in."""

from __future__ import annotations

from typing import Any

import pytest

from csbs.domain.tenancy import DOMAIN_ID
from csbs.testing.live_api import ADMIN_PASSWORD
from tests.integration.clients.conftest import Served
from tests.integration.clients.environments import drive

PROJECT = "%(project_id)s"


def password(served: Served) -> dict[str, Any]:
    return {
        "auth_url": served.keystone,
        "user_domain_id": DOMAIN_ID,
        "project_id": served.api.project_id,
        "username": "admin",
        "password": ADMIN_PASSWORD,
        "verify": False,
    }


def signed(served: Served) -> dict[str, Any]:
    region = served.api.region
    key, secret = region.access_keys.create(region.users.find("admin"))
    return {
        "ak": key.id,
        "sk": secret,
        "project_id": served.api.project_id,
        "region": "local",
        "domain": "any.text",
        "auth_url": served.keystone,
    }


def token(served: Served) -> dict[str, Any]:
    return {"auth_token": served.api.log_in(), "auth_url": served.keystone}


@pytest.mark.parametrize(
    ("connect", "override"),
    [
        pytest.param(password, "", id="password"),
        pytest.param(password, PROJECT, id="password, endpoint given"),
        pytest.param(signed, "", id="access key"),
        pytest.param(signed, PROJECT, id="access key, endpoint given"),
        pytest.param(token, "the id", id="token"),
    ],
)
def test_a_whole_day(served: Served, connect: Any, override: str) -> None:
    variables = {}
    if override:
        project = PROJECT if override == PROJECT else served.api.project_id
        variables["OS_DATA_PROTECT_ENDPOINT_OVERRIDE"] = f"{served.api.url}/v1/{project}"

    done = drive(
        "huaweicloud", {"connect": connect(served), "server": served.server.id}, **variables
    )

    (protectable,), (restorable,) = done["protectable"], done["restorable"]
    assert (protectable["result"], protectable["resource_id"]) == (True, served.server.id)
    assert done["checkpoint"]["status"] == "protecting"
    assert done["available"]["status"] == "available"
    assert done["available"]["name"] == "by-the-sdk"
    assert done["available"]["extend_info"]["progress"] == 100
    assert len(done["available"]["extend_info"]["volume_backups"]) == 2
    assert done["listed"] == [done["item_id"]]
    assert done["counted"] == 1
    assert restorable["result"] is True
    assert done["policy"]["status"] == "suspended"
    assert done["policies"] == ["renamed"]
    assert done["run"]["plan"] == done["run"]["policy"]
    assert done["second"]["status"] == "available"
    assert done["second"]["extend_info"]["incremental"] is True
    assert done["policies_at_the_end"] == []
    assert "CSBS.3001" in done["gone"]

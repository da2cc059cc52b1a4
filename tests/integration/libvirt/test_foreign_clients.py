"""Clients of that cloud against a live service with a real server: all of it, to the last byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from csbs.api.csbs_v1.wire.words import PROVIDER_ID
from csbs.config import Settings
from csbs.domain.clock import monotonic
from csbs.domain.tenancy import DOMAIN_ID
from csbs.service import Substitutes, open_service
from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_domains import DomainServer
from csbs.testing.live_api import ADMIN_PASSWORD, FastHasher, served
from tests.integration.clients.environments import drive

pytestmark = pytest.mark.host

_ENDS_MAX_S = 120.0
_ENDED = {"success", "fail"}


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    chosen = settings.model_copy(update={"bootstrap_password": ADMIN_PASSWORD})
    with (
        open_service(chosen, Substitutes(hasher=FastHasher())) as service,
        served(service, chosen) as address,
    ):
        yield address


def log_in(url: str) -> tuple[str, str]:
    """The id of project `local`, and a token for it."""
    user = {"name": "admin", "password": ADMIN_PASSWORD, "domain": {"name": "Default"}}
    scope = {"project": {"name": "local", "domain": {"name": "Default"}}}
    identity = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": identity, "scope": scope}}
    answer = httpx.post(f"{url}/v3/auth/tokens", json=body, timeout=30)
    return answer.json()["token"]["project"]["id"], answer.headers["X-Subject-Token"]


def test_the_sdk_backs_up_and_deletes_a_running_server(url: str, server: DomainServer) -> None:
    project_id, _ = log_in(url)
    connect = {
        "auth_url": f"{url}/v3",
        "user_domain_id": DOMAIN_ID,
        "project_id": project_id,
        "username": "admin",
        "password": ADMIN_PASSWORD,
        "verify": False,
    }

    done = drive("huaweicloud", {"connect": connect, "server": server.id})

    assert done["protectable"][0]["result"] is True
    assert done["available"]["status"] == "available"
    assert len(done["available"]["extend_info"]["volume_backups"]) == 3
    assert done["restorable"][0]["result"] is True
    assert done["second"]["extend_info"]["incremental"] is True
    assert "CSBS.3001" in done["gone"]


def test_karborclient_backs_up_and_restores_a_running_server(
    url: str, server: DomainServer
) -> None:
    auth = {
        "auth_url": f"{url}/v3",
        "username": "admin",
        "password": ADMIN_PASSWORD,
        "project_name": "local",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }

    project_id, _ = log_in(url)
    done = drive("karbor", {"auth": auth, "server": server.id, "project": project_id})

    assert done["disks"] == 3
    assert done["status"] == "available"
    assert done["restore"] == ["success", done["checkpoint"]]
    assert done["gone"] is True


class Api:
    """Calls by hand, for what no client of that cloud has."""

    def __init__(self, url: str) -> None:
        project_id, token = log_in(url)
        self._base = f"{url}/v1/{project_id}"
        self._headers = {"X-Auth-Token": token}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = httpx.request(
            method, self._base + path, json=body, headers=self._headers, timeout=60
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def item(self, checkpoint_id: str) -> Any:
        """The one backup of the run, once it is no longer being made."""
        path = f"/checkpoint_items?checkpoint_id={checkpoint_id}"
        end_s = monotonic() + _ENDS_MAX_S
        while True:
            (item,) = self.call("GET", path)["checkpoint_items"]
            if item["status"] != "protecting":
                return item
            assert monotonic() < end_s, item

    def restored(self, restore_id: str) -> str:
        end_s = monotonic() + _ENDS_MAX_S
        while True:
            status: str = self.call("GET", f"/restores/{restore_id}")["restore"]["status"]
            if status in _ENDED:
                return status
            assert monotonic() < end_s


def test_a_restore_over_the_api_brings_every_byte_back(url: str, server: DomainServer) -> None:
    api = Api(url)
    server.power_off()
    before = {target: server.content(target) for target in ("vda", "vdb", "vdc")}
    server.start()
    protect = f"/providers/{PROVIDER_ID}/resources/{server.id}/action"
    checkpoint = api.call("POST", protect, {"protect": {"backup_name": "before"}})["checkpoint"]
    item = api.item(checkpoint["id"])
    server.write("vda", offset=0, size=2 * MIB, pattern=9)
    server.write("vdc", offset=0, size=MIB, pattern=9)
    volumes = [
        {"backup_id": each["id"], "volume_id": each["source_volume_id"]}
        for each in item["extend_info"]["volume_backups"]
    ]
    wanted = {
        "provider_id": PROVIDER_ID,
        "checkpoint_id": checkpoint["id"],
        "parameters": {
            "checkpoint_item_id": item["id"],
            "power_on": False,
            "targets": {"server_id": server.id, "volumes": volumes},
        },
    }

    restore = api.call("POST", "/restores", {"restore": wanted})["restore"]

    assert item["status"] == "available"
    assert (item["backup_data"]["ram"], item["backup_data"]["vcpus"]) == (64, 1)
    assert api.restored(restore["id"]) == "success"
    assert {target: server.content(target) for target in before} == before

"""Rotating the region key: other projects and access keys live on it too."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from csbs.repository import Rotation
from csbs.testing.live_api import live_api
from csbs.testing.signing import sdk_signers


def test_a_key_stays_since_others_may_need_it(tmp_path: Path) -> None:
    with live_api(tmp_path, encryption="on") as api:
        other = api.region.projects.create("local_other")
        apps = [api.region.project_app(each.id) for each in api.region.projects.list_all()]
        for app in apps:
            app.stores.init()
        first = api.settings.region_key_path.read_text("utf-8")

        apps[0].keys.rotate(Rotation.REGION)
        both = api.settings.region_key_path.read_text("utf-8")
        apps[1].stores.show()
        apps[1].keys.rotate(Rotation.REGION)
        last = api.settings.region_key_path.read_text("utf-8")

    assert other.id in {app.tasks.project_id for app in apps}
    assert _keys(first) < _keys(both)
    assert _keys(last) == _keys(both)


def test_access_keys_sign_on_after_a_rotation(tmp_path: Path) -> None:
    with live_api(tmp_path, encryption="on") as api:
        app = api.region.project_app(api.region.projects.find("local").id)
        app.stores.init()
        key, secret = api.region.access_keys.create(api.region.users.find("admin"))

        app.keys.rotate(Rotation.REGION)

        signer = sdk_signers(key.id, secret)["chnsz"]
        headers = signer.sign("GET", f"{api.url}/v3/projects", at=datetime.now(UTC))
        assert api.client.get("/v3/projects", headers=headers).status_code == 200


def _keys(text: str) -> set[str]:
    return {line for line in text.splitlines() if line and not line.startswith("#")}

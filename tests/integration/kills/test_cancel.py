"""A cancel takes effect within 5 seconds, by the clock of the user, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from csbs.domain.clock import monotonic
from csbs.testing.driver_contract import MIB
from csbs.testing.seaweedfs import WRITER, SeaweedFS
from tests.integration.kills.hosts import KillHost, libvirt_host
from tests.integration.kills.service import Client, ServiceProcess, wait_for

#: What is promised.
EFFECT_MAX_S = 5.0


class Lab:
    """A service over real domains, whose store is in S3."""

    def __init__(self, host: KillHost, service: ServiceProcess) -> None:
        self.host = host
        self.service = service
        self.victim = host.victims[0]
        self.client = Client(service.url)

    def begin_backup(self) -> str:
        answer = self.client.call("POST", "/backups", {"server": self.victim.id, "full": True})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def begin_restore(self, backup_id: str) -> None:
        answer = self.client.call("POST", f"/backups/{backup_id}/restore", {"compare": True})
        assert answer.status_code == 202, answer.text

    @property
    def task(self) -> dict[str, Any]:
        """The newest, with its steps."""
        newest = self.client.tasks()[-1]
        return dict(self.client.call("GET", f"/tasks/{newest['id']}").json())

    def wait_for_step(self, name: str) -> None:
        """Until the newest task has begun it."""
        wait_for(lambda: name in [step["name"] for step in self.task["steps"]], name)

    def cancel(self) -> float:
        """How long it took until the newest task was cancelled."""
        task_id, began_s = self.task["id"], monotonic()
        answer = self.client.call("POST", f"/tasks/{task_id}/cancel")
        assert answer.status_code == 202, answer.text
        wait_for(lambda: self.task["state"] == "cancelled", "it is cancelled")
        return monotonic() - began_s

    def require_untouched(self) -> None:
        assert self.victim.is_running()
        wait_for(lambda: self.victim.leftovers() == [], "nothing is left", 10)


@pytest.fixture
def lab(request: pytest.FixtureRequest, seaweedfs: SeaweedFS) -> Iterator[Lab]:
    """Its settings are the parameter."""
    access = WRITER.access()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="k-")))
        store = {
            "store_url": seaweedfs.url(folder.name),
            "s3_access_key_id": access.access_key_id,
            "s3_secret_access_key": access.secret_access_key,
            "encryption": "off",
        }
        host = stack.enter_context(libvirt_host(folder, **store, **request.param))
        for number in range(32):
            for target in ("vda", "vdb"):  # what is read second has to wait
                offset = number * 65536
                host.victims[0].write(target, offset=offset, size=65536, pattern=number + 1)
        service = ServiceProcess(host.command, host.settings, folder / "log")
        stack.callback(service.kill)
        service.start()
        made = Lab(host, service)
        stack.callback(made.client.close)
        yield made


@pytest.mark.parametrize("lab", [{"rate_limit": "256KiB/s"}], indirect=True)
@pytest.mark.parametrize("hangs", [False, True], ids=["slow disk", "store hangs"])
def test_of_a_backup_that_copies(lab: Lab, seaweedfs: SeaweedFS, *, hangs: bool) -> None:
    lab.begin_backup()
    wait_for(lambda: lab.task["done_bytes"] > 0, "it copies")

    with seaweedfs.paused() if hangs else nullcontext():
        assert lab.cancel() <= EFFECT_MAX_S
        lab.require_untouched()

    assert lab.victim.tracking() == []
    assert lab.client.backups() == []


@pytest.mark.parametrize("lab", [{"rate_limit": "1MiB/s"}], indirect=True)
def test_of_a_backup_whose_store_hangs_when_all_is_copied(lab: Lab, seaweedfs: SeaweedFS) -> None:
    lab.begin_backup()
    wait_for(lambda: lab.task["done_bytes"] > 0, "it copies")

    with seaweedfs.paused():
        wait_for(lambda: lab.task["done_bytes"] == lab.task["total_bytes"], "all is copied")
        assert lab.cancel() <= EFFECT_MAX_S
        lab.require_untouched()

    assert lab.client.backups() == []


@pytest.mark.parametrize("lab", [{"stop_timeout_s": 600, "rate_limit": "512KiB/s"}], indirect=True)
def test_of_a_restore_until_its_first_write(lab: Lab) -> None:
    backup_id = lab.begin_backup()
    lab.client.wait_until_ended()
    lab.victim.write("vda", offset=MIB, size=MIB, pattern=99)
    before = lab.victim.content()
    lab.begin_restore(backup_id)
    lab.wait_for_step("stop")  # which nobody in the guest hears of

    assert lab.cancel() <= EFFECT_MAX_S

    lab.require_untouched()
    assert lab.victim.content() == before
    [backup] = lab.client.backups()
    assert backup["status"] == "available"


@pytest.mark.parametrize("lab", [{"rate_limit": "512KiB/s"}], indirect=True)
def test_a_restore_that_writes_says_why_it_is_not_cancelled(lab: Lab) -> None:
    backup_id = lab.begin_backup()
    lab.client.wait_until_ended()
    lab.victim.write("vda", offset=MIB, size=MIB, pattern=99)
    lab.begin_restore(backup_id)
    lab.wait_for_step("write")

    answer = lab.client.call("POST", f"/tasks/{lab.task['id']}/cancel")

    assert answer.status_code == 409
    assert "has begun to write" in answer.json()["error"]["message"]
    lab.client.wait_until_ended()
    assert lab.task["state"] == "done"
    assert lab.victim.content()["vda"][MIB] == 17

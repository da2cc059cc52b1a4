"""A service that is killed between sending an event and recording that it was sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from csbs.testing.receiver import Answer, receiver_running
from tests.integration.kills.hosts import fake_host
from tests.integration.kills.service import Client, ServiceProcess, wait_for


@pytest.fixture
def folder() -> Iterator[Path]:
    """Paths of sockets in it must be short."""
    with TemporaryDirectory(prefix="k-") as made:
        yield Path(made)


def test_an_event_is_recorded_once_and_arrives_whatever_is_killed(folder: Path) -> None:
    # 2 MiB at this rate: it is under way when it is killed.
    host = fake_host(folder, rate_limit="64KiB/s", webhook_local_targets=True)
    for number in range(32):
        host.victims[0].write("vda", offset=number * 65536, size=65536, pattern=1 + number)
    service = ServiceProcess(host.command, host.settings, folder / "log")
    with receiver_running() as receiver, ExitStack() as running:
        running.callback(service.kill)
        receiver.answers = [Answer(hangs=True), Answer()]
        service.start()
        client = Client(service.url)
        body = {"name": "pager", "channel": "webhook", "url": receiver.url}
        assert client.call("POST", "/notifications", body).status_code == 201
        assert client.call("POST", "/backups", {"server": "web"}).status_code == 202
        wait_for(lambda: client.tasks()[0]["state"] == "running", "the backup runs")
        client.close()
        service.kill()

        service.start()
        receiver.wait_for(1)  # sent, and never answered
        service.kill()
        service.start()
        receiver.wait_for(2)
        client = Client(service.url)

        def delivered() -> bool:
            found = client.call("GET", "/notifications/pager").json()["deliveries"]
            return bool(found["delivered"] == 1 and found["waiting"] == 0)

        wait_for(delivered, "it is recorded that it was sent")
        [event] = client.call("GET", "/events").json()["events"]
        client.close()

    assert event["kind"] == "task_failed"
    assert event["facts"]["error_code"] == "ProcessDied"
    assert [body["id"] for body in receiver.bodies()] == [event["id"]] * 2
    one, again = (each.headers["webhook-id"] for each in receiver.received)
    assert one == again == event["id"]

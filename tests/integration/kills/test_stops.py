"""`csbs serve` is stopped while it works, and comes to its end in time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from csbs.catalog.advisory import lock_number
from csbs.domain.clock import sleep
from csbs.testing.postgres import Postgres
from tests.integration.kills.hosts import fake_host
from tests.integration.kills.service import Client, ServiceProcess, wait_for

#: Of a machine that does other things besides.
_SOON_S = 20.0


class Stopped:
    """A service over a fake host, whose server `web` has 2 MiB on its disk."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.host = fake_host(folder, **settings)
        self.service = ServiceProcess(self.host.command, self.host.settings, folder / "log")
        self._client: Client | None = None
        self.write(0)
        self.service.start()

    def write(self, shift: int) -> None:
        for number in range(32):
            pattern = 1 + number + shift
            for target in ("vda", "vdb"):  # what is read second has to wait
                offset = number * 65536
                self.host.victims[0].write(target, offset=offset, size=65536, pattern=pattern)

    @property
    def client(self) -> Client:
        """Of the present life."""
        if self._client is None or self._client.url != self.service.url:
            self.close()
            self._client = Client(self.service.url)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def begin_backup(self) -> str:
        answer = self.client.call("POST", "/backups", {"server": "web"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def begin_restore(self) -> None:
        """Of a backup that differs; it writes when this returns."""
        client, backup_id = self.client, self.begin_backup()
        client.wait_until_ended()
        self.write(100)
        task = client.call("POST", f"/backups/{backup_id}/restore", {}).json()

        def writes() -> bool:
            steps = client.call("GET", f"/tasks/{task['id']}").json()["steps"]
            return "write" in [step["name"] for step in steps]

        wait_for(writes, "it writes")

    def tasks(self) -> list[tuple[str, str]]:
        return [
            (task["state"], (task["error"] or {}).get("code", "")) for task in self.client.tasks()
        ]


@pytest.fixture
def stopped() -> Iterator[Callable[..., Stopped]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="k-")))

        def make(**settings: object) -> Stopped:
            made = Stopped(folder, **settings)
            stack.callback(made.service.kill)
            stack.callback(made.close)
            return made

        yield make


def test_a_stop_breaks_a_backup_off(stopped: Callable[..., Stopped]) -> None:
    lab = stopped(rate_limit="64KiB/s")
    lab.begin_backup()
    wait_for(lambda: bool(lab.client.tasks()[0]["done_bytes"]), "it copies")

    lab.service.signal(signal.SIGTERM)

    assert lab.service.wait(_SOON_S) == 0
    lab.service.start()
    assert lab.tasks() == [("error", "ServiceStopped")]


@pytest.mark.parametrize(("shutdown_timeout_s", "signals", "code"), [(0, 1, 0), (600, 2, 130)])
def test_a_restore_that_writes_keeps_nobody_from_a_stop(
    stopped: Callable[..., Stopped], shutdown_timeout_s: int, signals: int, code: int
) -> None:
    lab = stopped(rate_limit="512KiB/s", shutdown_timeout_s=shutdown_timeout_s)
    lab.begin_restore()

    for _ in range(signals):
        lab.service.signal(signal.SIGTERM)
        sleep(0.1)  # two that come at once are one

    assert lab.service.wait(_SOON_S) == code
    lab.service.start()
    lab.client.wait_until_ended()
    assert lab.tasks() == [("done", ""), ("done", "")]
    assert lab.host.victims[0].content()["vda"][:1] == b"\x01"


def test_what_dbos_keeps_may_be_lost_or_damaged(stopped: Callable[..., Stopped]) -> None:
    lab = stopped(rate_limit="64KiB/s")
    lab.begin_backup()
    wait_for(lambda: lab.client.tasks()[0]["state"] == "running", "it runs")
    lab.service.kill()
    file = lab.host.settings.data_dir / "workflows.sqlite"
    for each in lab.host.settings.data_dir.glob("workflows.sqlite-*"):
        each.unlink()
    file.write_bytes(b"no database" * 1000)
    lab.service.start()

    lab.client.wait_until_ended()
    assert lab.tasks() == [("error", "ProcessDied")]
    assert file.with_name("workflows.sqlite.damaged").exists()
    lab.service.kill()
    file.unlink()
    lab.service.start()
    assert lab.tasks() == [("error", "ProcessDied")]


def test_a_service_ends_when_another_may_have_its_catalog(
    stopped: Callable[..., Stopped], postgres: Postgres
) -> None:
    url = postgres.new_database()
    lab = stopped(catalog_url=url)
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        key = lock_number("csbs serve")
        take = "SELECT pg_try_advisory_lock(%s)"
        wait_for(lambda: other.execute(take, [key]).fetchone() == (True,), "its lock is free")

        assert lab.service.wait(_SOON_S) != 0
    assert "its lock in the catalog's database was lost" in lab.service.said()

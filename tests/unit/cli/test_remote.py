"""Commands on a service: stopping one, the trail, an agreed plan that has changed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csbs.catalog import tasks
from csbs.domain.clock import monotonic
from csbs.domain.ids import ProjectId
from tests.unit.cli.two_ways import Way, Ways, log_in, two_ways

_TIMEOUT_S = 30.0


@pytest.fixture
def ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ways]:
    with two_ways(tmp_path, capsys, monkeypatch) as both:
        log_in(both)
        yield both


def interrupt_at(way: Way, call: str, has_arrived: Callable[[], bool]) -> None:
    """A person presses Ctrl-C while the driver is there, which goes on when that has arrived."""

    def before(name: str) -> None:
        if name == call:
            way.driver.before_call = lambda _: None
            os.kill(os.getpid(), signal.SIGINT)
            end_s = monotonic() + _TIMEOUT_S
            while not has_arrived():
                assert monotonic() < end_s

    way.driver.before_call = before


def test_ctrl_c_stops_a_backup_here_and_there(ways: Ways) -> None:
    app = ways.api.region.project_app(ProjectId(ways.api.project_id))

    def has_arrived() -> bool:
        with app.backups.catalog.reading() as transaction:
            return any(
                tasks.is_cancel_requested(transaction, app.backups.project_id, each.id)
                for each in tasks.open_of_project(transaction, app.backups.project_id)
            )

    ran = []
    for way in ways.both():
        interrupt_at(way, "begin_backup", has_arrived if way is ways.there else lambda: True)
        ran.append((way("backup", "create", "web", "--name", "b1"), way("backup", "list")))

    assert ran[0] == ran[1]
    stopped, listed = ran[1]
    assert stopped.code == 130
    assert "cancelled" in stopped.err
    assert "b1" not in listed.out
    task = ways.there.json("task", "list")["tasks"][0]
    assert (task["state"], task["error"]["kind"]) == ("cancelled", "cancelled")


def test_a_failure_of_a_task_is_the_same_here_and_there(ways: Ways) -> None:
    ran = []
    for way in ways.both():
        way.driver.unreadable.add("vda")
        ran.append(
            [way("backup", "create", "web", "--name", "b1", *more) for more in ([], ["--json"])]
        )

    assert ran[0] == ran[1]
    assert ran[1][0].code not in {0, 1}
    assert ran[1][0].err.count("\n") == 1


def test_the_trail_says_who_and_from_where(ways: Ways) -> None:
    ways.there("project", "create", "local_sales")
    ways.there("backup", "create", "db", "--name", "d1")
    events = ways.there.json("audit", "list")["events"]
    exported = ways.there("audit", "export").out.splitlines()
    of_project = ways.there.json("audit", "list", "--project", "local")["events"]

    made = [(each["action"], each["user"]["name"], each["remote_address"]) for each in events]
    assert made[-2:] == [
        ("create_project", "admin", "127.0.0.1"),
        ("create_backup", "admin", "127.0.0.1"),
    ]
    assert len(exported) == len(events)
    assert "create_backup" in {each["action"] for each in of_project}
    assert "create_project" not in {each["action"] for each in of_project}
    assert ways.there.json("audit", "list", "--since", "2999-01-01")["events"] == []
    assert ways.there("audit", "list", "--project", "nothing").code == 3


def test_a_plan_that_changed_since_it_was_agreed_to_is_refused(ways: Ways) -> None:
    for way in ways.both():
        way("backup", "create", "web", "--name", "b1")
    url = f"/native/v1/projects/{ways.api.project_id}/backups/b1/restore"
    with ways.api.as_user() as admin:
        plan_id = admin.get(url).json()["plan_id"]
        ways.there.servers["web"].path("vdb").unlink()
        refused = admin.post(url, json={"plan_id": plan_id})
        agreed = admin.post(url, json={"plan_id": admin.get(url).json()["plan_id"]})

    assert (refused.status_code, agreed.status_code) == (409, 202)


def test_a_chore_of_another_project_is_not_there(ways: Ways) -> None:
    ways.there("repository", "init")
    ways.there("project", "create", "local_sales")
    with ways.api.as_user() as admin:
        project = admin.get("/native/v1/projects").json()["projects"]
        ids = {each["name"]: each["id"] for each in project}
        own = f"/native/v1/projects/{ids['local']}/repository"
        chore = admin.post(f"{own}/verifications", json={}).json()["id"]
        ways.there("repository", "verify")  # by now the first one has ended, or is in the way
        there = admin.get(f"{own}/chores/{chore}")
        cancelled = admin.post(f"{own}/chores/{chore}/cancel")
        elsewhere = ways.api.client.get(
            f"/native/v1/projects/{ids['local_sales']}/repository/chores/{chore}",
            headers={"X-Auth-Token": ways.api.log_in(project="local_sales")},
        )

    assert (there.status_code, cancelled.status_code) == (200, 202)
    assert elsewhere.status_code == 404

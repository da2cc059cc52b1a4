"""What a service does by itself at its start and from then on: expiry, and collection after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from csbs.catalog import collections, events, runs
from csbs.domain.backup import BackupState
from csbs.domain.due_run import RunKind
from csbs.domain.events import EventKind
from csbs.domain.ids import CheckpointId, ProjectId, ServerId
from csbs.domain.policy import BoundServer, NewPolicy, NewSchedule
from csbs.domain.policy_run import PolicyRun, RunState
from csbs.services.project_app import App
from csbs.services.requests import CreateBackup
from csbs.testing.events import failure
from csbs.testing.live_api import live_api
from csbs.testing.values import START

_LIMIT = timedelta(seconds=60)
_LATER = "RRULE:FREQ=DAILY;INTERVAL=300;BYHOUR=0;BYMINUTE=0"


@contextmanager
def life(folder: Path) -> Iterator[App]:
    """The service runs until the body ends."""
    with live_api(folder) as api:
        if not (folder / "host").exists():
            api.driver.add_server("web", {"vda": 1024**2})
        yield api.region.project_app(ProjectId(api.project_id))


def wait_until(holds: Callable[[], bool]) -> None:
    end = datetime.now(UTC) + _LIMIT
    while not holds():
        assert datetime.now(UTC) < end


def protect(app: App) -> None:
    """Two automatic backups of a server, of which its policy keeps one."""
    (server, *_) = app.servers.list_all()
    policy = app.protection.policies.create(
        NewPolicy(
            name="nightly",
            servers=[BoundServer(id=ServerId(server.id), kind="OS::Nova::Server", name="")],
            schedules=[NewSchedule(pattern=_LATER, retention={"max_backups": 1})],
        )
    )
    for _ in range(2):
        made = app.backups.submit(
            CreateBackup(server=server.id, policy_id=policy.id, auto_trigger=True)
        )
        wait_until(lambda: app.backups.find(made.id).state is BackupState.AVAILABLE)  # noqa: B023  it is called here
        wait_until(lambda: not app.executor.open_tasks())


def test_a_collection_that_is_overdue_is_told(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with life(tmp_path) as app, app.backups.catalog.transaction() as transaction:
        collections.want(transaction, app.backups.project_id, at=now - timedelta(days=8))
        collections.begin(transaction, app.backups.project_id, at=now)

    with life(tmp_path) as app:
        wait_until(lambda: app.notifications.events(limit=9) != [])
        (event,) = app.notifications.events(limit=9)
    assert event.kind is EventKind.COLLECTION_LATE


def test_what_no_rule_keeps_expires_and_its_space_is_freed(tmp_path: Path) -> None:
    with life(tmp_path) as app:
        protect(app)
        kept = app.backups.list_all()[-1]

    with life(tmp_path) as app:
        wait_until(lambda: [each.id for each in app.backups.list_all()] == [kept.id])
        wait_until(lambda: not app.executor.open_tasks())
        with app.backups.catalog.transaction() as transaction:
            assert collections.facts(transaction, app.backups.project_id).wanted_since is not None

    with life(tmp_path) as app:

        def is_collected() -> bool:
            with app.backups.catalog.transaction() as transaction:
                facts = collections.facts(transaction, app.backups.project_id)
            return facts.ended_at is not None and facts.wanted_since is None

        wait_until(is_collected)
        assert app.backups.find(kept.id).state is BackupState.AVAILABLE


def test_nothing_goes_by_its_age_at_a_start_far_behind_the_last_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The clock may be ahead: by it everything is old."""
    told = "nothing expires and nothing old is forgotten for an hour"
    years_ago = datetime.now(UTC) - timedelta(days=900) - START
    with life(tmp_path) as app:
        protect(app)
        [policy] = app.protection.policies.list_all()
        run = PolicyRun(
            id=CheckpointId("r1"),
            project_id=policy.project_id,
            policy_id=policy.id,
            schedule_id=policy.schedules[0].id,
            due_at=datetime.now(UTC) - timedelta(days=2),
            kind=RunKind.ON_TIME,
            note="",
            state=RunState.ENDED,
            claimed_at=datetime.now(UTC) - timedelta(days=2),
        )
        with app.backups.catalog.transaction() as transaction:
            runs.claim(transaction, run, [])
            events.add(transaction, [failure(policy.project_id, 1, after=years_ago)])
        assert told not in caplog.text

    with life(tmp_path):
        assert told in caplog.text
    # Each round was made once before the service ended.
    with life(tmp_path) as app:
        assert len(app.notifications.events(limit=9)) == 1

"""What commands say of policies: due times in the policy's own zone, whatever zone is here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from csbs.cli.policy_text import backups_text, due_texts, keeps_text, note_text, span_text
from csbs.documents.policies import RetentionDocument, RunDocument
from csbs.domain.backup import BackupState
from csbs.domain.due_run import RunKind
from csbs.domain.policy import Retention
from csbs.domain.policy_run import RunState
from tests.unit.cli.two_ways import two_ways

DUE = datetime(2026, 11, 27, 1, 30, tzinfo=UTC)


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's zone is another one than the policy's."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def run(note: str, kind: RunKind = RunKind.ON_TIME) -> RunDocument:
    return RunDocument(
        id="r",
        due_at=DUE,
        kind=kind,
        state=RunState.ENDED,
        note=note,
        claimed_at=DUE,
        ended_at=DUE,
        backups={BackupState.AVAILABLE: 2, BackupState.ERROR: 1},
    )


@pytest.mark.usefixtures("in_new_york")
def test_times_are_those_that_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_ways(tmp_path, capsys, monkeypatch) as ways:
        here = ways.here
        zone = ("--timezone", "Asia/Shanghai")
        shown = here("policy", "create", "nightly", "--at", "02:30", *zone).out
        assert "runs 02:30 daily, Asia/Shanghai, while `csbs serve` runs" in shown
        [following] = [line for line in shown.splitlines() if line.startswith("next")]
        assert following.startswith("next (Asia/Shanghai): ")
        assert all(each.endswith(" 02:30") for each in following.partition(": ")[2].split(", "))
        assert "promises that the newest backup is at most 25 h old (`csbs rpo`)" in shown
        [row] = here("policy", "list").out.splitlines()[1:]
        assert "02:30 daily, Asia/Shanghai" in row
        assert row.count("02:30") == 2
        shown = here("policy", "set", "nightly", "--off").out
        assert "is off (02:30 daily, Asia/Shanghai): it runs only when `csbs policy run`" in shown
        assert "next" not in shown
        assert "promises" not in shown


def test_due_times_are_shown_in_the_zone() -> None:
    assert due_texts([DUE], "Europe/Berlin") == ["2026-11-27 02:30"]
    assert due_texts([DUE], "UTC-05:00") == ["2026-11-26 20:30"]


def test_a_note_says_that_a_run_was_on_time() -> None:
    assert note_text(run("")) == "on time"
    also = "also for a run missed since 2026-11-26 01:30 UTC"
    assert note_text(run(also)) == also
    caught_up = "catches up with a run missed since 2026-11-26 01:30 UTC"
    assert note_text(run(caught_up, RunKind.CATCH_UP)) == caught_up


def test_a_run_that_ended_says_how_its_backups_did() -> None:
    assert backups_text(run("")) == "2 available, 1 error"


def test_zero_days_are_no_rule() -> None:
    kept = RetentionDocument.of(Retention(max_backups=0, day_backups=0, week_backups=4))
    assert keeps_text(kept) == "0 newest, 4 weekly"
    assert keeps_text(RetentionDocument.of(Retention(day_backups=0))) == "all"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (25 * 3600, "25 h"),
        (73 * 3600, "73 h"),
        (86_460, "24 h 1 min"),
        (8 * 86_400 + 3600, "8 d 1 h"),
        (0, "0 min"),
    ],
)
def test_a_promise_is_said_as_the_documentation_has_it(seconds: int, text: str) -> None:
    assert span_text(seconds) == text

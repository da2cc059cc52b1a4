"""What somebody mistypes in `csbs policy`: he is told which option it is, and what would do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.two_ways import Way, two_ways

HOURS = [f"{hour:02}:00" for hour in range(24)]


@pytest.fixture
def here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Way]:
    with two_ways(tmp_path, capsys, monkeypatch) as ways:
        yield ways.here


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--at", ",".join([*HOURS, "23:30"])], "at: at most 24 are allowed"),
        (["--at", "02:00,02:59"], "at: Monday 02:00 and Monday 02:59 are 59 minutes apart"),
        (["--at", "02:00", "--days", "mongo"], "days: 'mongo' is none of mon, tue"),
        (["--at", "02:00", "--days", "mon", "--every", "3d"], "every_days: give weekdays, or"),
        (["--at", "02:00", "--keep-days", "3", "--keep-months", "2"], "--keep-days or --keep-m"),
        (["--at", "02:00", "--keep", "100000"], "'--keep'"),
        (["--keep", "5"], "at: say at which times of the day it runs"),
        (["--at", "02:00", "--auto-bind", "env"], "'env' is no tag: write it as KEY=VALUE"),
        (["--at", "02:00", "--auto-bind", "=x"], "'=x' is no tag"),
        (["--at", "02:00", "--auto-bind", "a=1", "--auto-bind", "a=2"], "'a' is given twice"),
        (["--at", "02:00", "--auto-bind", "all", "--auto-bind", "a=1"], "takes every server"),
        (["--at", "02:00", "--auto-bind", "a b=c"], "tag 'a b': use letters, digits"),
    ],
    ids=lambda each: " ".join(each)[-40:],
)
def test_a_mistake_is_named_with_what_would_do(here: Way, words: list[str], why: str) -> None:
    ran = here("policy", "create", "nightly", *words)

    assert ran.code == 2
    assert why in ran.err
    assert here.json("policy", "list")["policies"] == []


def test_days_are_kept_in_the_zone_of_the_region(here: Way) -> None:
    made = here.json("policy", "create", "nightly", "--at", "02:30", "--keep-daily", "7")

    assert made["schedule"]["retention"]["day_backups"] == 7
    assert made["schedule"]["timezone"] == "UTC"


@pytest.mark.parametrize("day", ["mo", "mon", "Monday"])
def test_days_are_written_as_people_do(here: Way, day: str) -> None:
    made = here.json("policy", "create", "nightly", "--at", "02:30", "--days", day)

    assert made["schedule"]["times"] == [{"days": ["mon"], "at": ["02:30"]}]


def test_who_holds_a_server_is_told_by_name(here: Way) -> None:
    here.json("policy", "create", "nightly", "web", "--at", "02:30")

    ran = here("policy", "create", "weekly", "web", "--at", "02:30", "--days", "sun")

    assert ran.code == 5
    assert ran.err == (
        "csbs: server web is bound to policy nightly already; "
        "`csbs policy unbind nightly web` lets it go\n"
    )
    assert "`csbs policy list` shows them" in here("policy", "show", "weekly").err


@pytest.mark.parametrize("tag", ["env", "=prod", "e nv=prod"])
def test_a_tag_that_is_none_is_named(here: Way, tag: str) -> None:
    ran = here("server", "tag", "web", tag)

    assert ran.code == 2
    assert repr(tag.removesuffix("=prod") or tag) in ran.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--webhook", "hooks.example/csbs"], "url: write an address such as https://"),
        (["--webhook", "http://hooks.example/"], "http is for the service's own host"),
        (["--mail", "ops"], "recipients.0: write an address such as ops@example.com"),
    ],
)
def test_where_events_cannot_be_sent(here: Way, words: list[str], why: str) -> None:
    ran = here("notification", "create", "ops", *words)

    assert ran.code == 2
    assert why in ran.err


def test_who_only_looks_at_tags_changes_nothing(here: Way) -> None:
    def changes() -> list[str]:
        return [each["action"] for each in here.json("audit", "list")["events"]]

    here.json("server", "tag", "web")
    assert "change_server_tags" not in changes()
    here.json("server", "tag", "web", "env=prod")
    assert changes()[-1] == "change_server_tags"


def test_usage_shows_what_may_be_left_out(here: Way) -> None:
    assert "{NAME} [SERVER]...\n" in here("policy", "create", "--help").out
    assert "{POLICY} {SERVER}...\n" in here("policy", "bind", "--help").out


def test_a_rule_that_comes_later_holds(here: Way) -> None:
    here.json("policy", "create", "nightly", "--at", "02:30")
    assert "\nkeeps 3 newest\n" in here("policy", "set", "nightly", "--keep", "3").out


def test_keeping_for_ever_ends_when_somebody_says_so(here: Way) -> None:
    made = here("policy", "create", "nightly", "--at", "02:30", "--keep", "3", "--keep-forever")
    assert "\nkeeps all, for ever (else 3 newest)\n" in made.out
    kept = here("policy", "set", "nightly", "--keep", "5").out
    assert "\nkeeps all, for ever (else 5 newest)\n" in kept
    ended = here("policy", "set", "nightly", "--no-keep-forever").out
    assert "\nkeeps 5 newest\n" in ended


def test_a_policy_without_times_gets_them_first(here: Way) -> None:
    here.json("policy", "create", "asked")
    assert "csbs: at: say at which times" in here("policy", "set", "asked", "--keep", "3").err
    timed = here.json("policy", "set", "asked", "--at", "02:30", "--keep", "3")
    assert timed["schedule"]["retention"]["permanent"] is False


def test_a_change_of_nothing_is_no_change(here: Way) -> None:
    here.json("policy", "create", "nightly", "--at", "02:30")

    nothing = here("policy", "set", "nightly")

    assert (nothing.code, nothing.err.count("\n")) == (2, 1)
    assert "say what shall be another, such as --at 02:00 or --off" in nothing.err
    actions = [each["action"] for each in here.json("audit", "list")["events"]]
    assert actions[-1] == "create_policy"

"""`csbs policy preview`, here and over the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from csbs.catalog import Catalog
from csbs.catalog.tables import backups
from tests.unit.cli.two_ways import Way, Ways, log_in, two_ways

_LATER = ("--at", "00:00", "--every", "300d")


@pytest.fixture
def ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ways]:
    with two_ways(tmp_path, capsys, monkeypatch) as running:
        log_in(running)
        yield running


def back_up_by_schedule(way: Way) -> None:
    """As the scheduler would have it of a run that somebody asked for."""
    way.json("policy", "run", "nightly")
    way.wait_for_tasks()
    with (
        closing(Catalog.open(way.folder / "data" / "catalog.sqlite")) as catalog,
        catalog.transaction() as transaction,
    ):
        transaction.execute(update(backups).values(auto_trigger=True))


def test_a_preview_is_the_same_here_and_there(ways: Ways) -> None:
    in_400_days = f"{datetime.now(UTC) + timedelta(days=400):%Y-%m-%d}"
    for way in ways.both():
        policy = way.json("policy", "create", "nightly", "web", *_LATER, "--keep", "1")
        back_up_by_schedule(way)

        now = way.json("policy", "preview", "nightly")
        later = way.json("policy", "preview", "nightly", "--at", in_400_days)

        assert now["policy"] == {"id": policy["id"], "name": "nightly"}
        assert (now["removed"], now["coming_runs"]) == ([], 0)
        [kept] = now["kept"]
        assert kept["server"]["name"] == "web"
        assert [each["rule"] for each in kept["reasons"]] == ["newest", "number"]
        assert now["storage_before_bytes"] == now["storage_after_bytes"] > 0
        assert later["coming_runs"] == 1
        [removed] = later["removed"]
        assert (removed["backup"], later["kept"]) == (kept["backup"], [])
        assert removed["reasons"][0]["detail"].endswith("kept are: the newest 1")
        assert later["storage_before_bytes"] == now["storage_before_bytes"]
        assert (later["storage_after_bytes"], later["storage_exact"]) == (0, True)
        text = way("policy", "preview", "nightly", "--at", in_400_days).out
        assert "removed: 1, kept: 0" in text
        assert "then 0 B" in text
        [row] = way("policy", "preview", "nightly").out.splitlines()[4:]
        assert " web " in row


def test_dates_and_names_that_make_no_sense_are_refused(ways: Ways) -> None:
    for way in ways.both():
        way.json("policy", "create", "nightly", "web", *_LATER)

        refused = way("policy", "preview", "nightly", "--at", "2099-01-01")
        assert (refused.code, "at: use a date from now to" in refused.err) == (2, True)
        assert way("policy", "preview", "nightly", "--at", "tomorrow").code == 2
        assert way("policy", "preview", "nothing").code == 3

"""`csbs policy run`, which a service begins and this machine makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.two_ways import log_in, two_ways

_LATER = ("--at", "00:00", "--every", "300d")


def test_a_policy_is_run_here_and_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_ways(tmp_path, capsys, monkeypatch) as ways:
        log_in(ways)
        for way, state in ((ways.here, "available"), (ways.there, "protecting")):
            policy = way.json("policy", "create", "nightly", "web", "db", *_LATER)
            begun = way.json("policy", "run", "nightly", "web")
            assert begun["policy"] == {"id": policy["id"], "name": "nightly"}
            assert [(each["server"]["name"], each["status"]) for each in begun["backups"]] == [
                ("web", state)
            ]
            way.wait_for_tasks()
            [backup] = way.json("backup", "list")["backups"]
            assert backup["status"] == "available"
            assert backup["policy_id"] == policy["id"]
            assert backup["name"].startswith("manualbk_")
            assert backup["auto_trigger"] is False
            ran = "made because somebody ran policy nightly"
            assert ran in way("backup", "show", backup["id"]).out
            assert way("policy", "run", "nightly", "nothing").code == 2
            assert way("policy", "run", "nothing").code == 3
            way.json("policy", "delete", "nightly", "--yes")
            assert "ran a policy that was deleted" in way("backup", "show", backup["id"]).out


def test_a_server_that_is_refused_does_not_hinder_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_ways(tmp_path, capsys, monkeypatch) as ways:
        way = ways.here
        way.json("policy", "create", "nightly", "web", "db", *_LATER)
        way.driver.unreadable.add("vdb")
        begun = way.json("policy", "run", "nightly")
        assert {each["server"]["name"]: each["status"] for each in begun["backups"]} == {
            "web": "error",
            "db": "available",
        }
        assert len(way.json("backup", "list")["backups"]) == 2

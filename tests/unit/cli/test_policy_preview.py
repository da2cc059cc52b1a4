"""`csbs policy preview`, here and over the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.two_ways import log_in, two_ways


def test_a_preview_is_the_same_here_and_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_ways(tmp_path, capsys, monkeypatch) as ways:
        log_in(ways)
        for way in (ways.here, ways.there):
            policy = way.json(
                "policy",
                "create",
                "nightly",
                "web",
                "--at",
                "00:00",
                "--every",
                "300d",
                "--keep",
                "1",
            )
            way.json("backup", "create", "web", "--name", "byhand")
            refused = way("policy", "preview", "nightly", "--at", "2099-01-01")
            assert (refused.code, "at: use a date from now to" in refused.err) == (2, True)
            seen = way.json("policy", "preview", "nightly")
            assert seen["policy"] == {"id": policy["id"], "name": "nightly"}
            assert (seen["kept"], seen["removed"], seen["coming_runs"]) == ([], [], 0)
            assert seen["storage_before_bytes"] == seen["storage_after_bytes"]
            assert seen["storage_exact"] is True
            assert way("policy", "preview", "nightly", "--at", "tomorrow").code == 2
            assert way("policy", "preview", "nothing").code == 3
            assert "removed: 0, kept: 0" in way("policy", "preview", "nightly").out
            way.json("policy", "run", "nightly", "web")
            [kept] = way.json("policy", "preview", "nightly")["kept"]
            assert kept["server"]["name"] == "web"
            [row] = way("policy", "preview", "nightly").out.splitlines()[4:]
            assert " web " in row

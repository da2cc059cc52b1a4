"""`csbs user`, `project`, `key` and `audit` on a data folder of their own."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer

from csbs.cli import main, options
from tools import reference


class Command:
    """The command line, in this process."""

    def __init__(
        self, folder: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
    ) -> None:
        self._folder = folder
        self._capture = capture
        self._patch = patch
        self.code = 0

    def __call__(self, *arguments: str, typed: str = "") -> str:
        self._patch.setattr("sys.stdin", io.StringIO(typed))
        self.code = main.run(["--data-dir", str(self._folder), *arguments])
        captured = self._capture.readouterr()
        return captured.out or captured.err

    def json(self, *arguments: str, typed: str = "") -> Any:
        return json.loads(self(*arguments, "--json", typed=typed))


@pytest.fixture
def csbs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.setenv("CSBS_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("CSBS_LIBVIRT_URI", "test:///default")
    return Command(tmp_path / "data", capsys, monkeypatch)


def test_a_user_gets_a_role_and_a_key(csbs: Command) -> None:
    user = csbs.json("user", "create", "alice", "--password-stdin", typed="a-good-password\n")
    project = csbs.json("project", "create", "local_sales")
    csbs("project", "grant", "local_sales", "alice", "--role", "reader")
    key = csbs.json("key", "create", "alice", "--description", "for a script")

    shown = csbs.json("user", "show", user["id"])
    assert shown["roles"] == [{"project": project, "role": "reader"}]
    assert len(key["secret"]) == 40
    (listed,) = csbs.json("key", "list", "alice")["keys"]
    assert listed == {name: key[name] for name in ("id", "description", "created_at")}


def test_a_role_is_taken_and_a_user_deleted(csbs: Command) -> None:
    csbs("user", "create", "alice", "--password-stdin", typed="a-good-password\n")
    csbs("project", "grant", "local", "alice")
    csbs("project", "revoke", "local", "alice")
    assert csbs.json("user", "show", "alice")["roles"] == []

    csbs("user", "delete", "alice", "--yes")

    csbs("user", "show", "alice")
    assert csbs.code == 3


def test_a_user_is_changed(csbs: Command) -> None:
    csbs("user", "create", "alice", "--admin", "--password-stdin", typed="a-good-password\n")
    csbs("user", "create", "bob", "--admin", "--password-stdin", typed="a-good-password\n")

    changed = csbs.json(
        "user", "set", "bob", "--disabled", "--password-stdin", typed="another-password\n"
    )

    assert (changed["enabled"], changed["is_admin"]) == (False, True)
    csbs("user", "set", "alice", "--no-admin")
    assert csbs.code == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("user", "create", "a b", "--password-stdin"), 2),
        (("user", "create", "alice", "--password-stdin"), 2),
        (("project", "create", "sales"), 5),
        (("project", "delete", "local", "--yes"), 5),
        (("project", "delete", "nothing", "--yes"), 3),
        (("project", "grant", "local", "nobody"), 3),
        (("key", "create", "nobody"), 3),
        (("key", "delete", "NOTHING", "--yes"), 3),
        (("user", "delete", "nobody"), 5),
        (("server", "assign", "nothing", "local"), 3),
    ],
)
def test_what_cannot_be_has_its_exit_code(
    csbs: Command, arguments: tuple[str, ...], code: int
) -> None:
    csbs(*arguments, typed="short\n")

    assert csbs.code == code


def test_a_server_of_the_host_is_assigned(csbs: Command) -> None:
    project = csbs.json("project", "create", "local_sales")

    assigned = csbs.json("server", "assign", "test", "local_sales")

    assert assigned["project"] == project
    assert csbs.json("server", "list")["servers"] == []


def test_changes_are_in_the_trail_and_are_exported(csbs: Command) -> None:
    csbs("project", "create", "local_sales")
    csbs("project", "create", "sales")

    events = csbs.json("audit", "list")["events"]
    exported = [json.loads(line) for line in csbs("audit", "export").splitlines()]

    assert events == exported
    assert [(each["action"], each["target"], each["result"]) for each in events] == [
        ("create_project", "local_sales", "done"),
        ("create_project", "sales", "refused"),
    ]
    assert events[0]["user"]["name"] == options.local_user()


def test_the_newest_changes_are_listed(csbs: Command) -> None:
    for number in range(3):
        csbs("project", "create", f"local_{number}")

    events = csbs.json("audit", "list", "--last", "2")["events"]

    assert [each["target"] for each in events] == ["local_1", "local_2"]
    assert csbs.json("audit", "list", "--since", "2999-01-01")["events"] == []


def test_every_command_that_is_recorded_exists() -> None:
    commands = {path for path, _ in reference.commands(typer.main.get_command(main.app))}

    assert {f"csbs {words}" for words in options.CHANGES} <= commands

"""Each command shows the same, and ends the same, on this machine and on a service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from csbs.cli import main
from tests.unit.cli.two_ways import MIB, Way, log_in, two_ways
from tools import reference

PASSWORD = "a-good-password\n"  # noqa: S105  of users that live as long as a test


def write_more(way: Way) -> None:
    way.servers["web"].write("vda", offset=2 * MIB, size=MIB // 4, pattern=9)


def lose_a_pack(way: Way) -> None:
    """The largest: one with data."""
    packs = [each for each in (way.store / "packs").rglob("*") if each.is_file()]
    max(packs, key=lambda each: each.stat().st_size).unlink()


#: What is typed after `csbs`, in this order; a function is something that happens in between.
#: With `*` the command is run with `--json` first, so it must be one that can be repeated.
TABLE: list[str | tuple[str, str] | Callable[[Way], None]] = [
    # --- what is there at first, and what is not
    "* server list",
    "* server show web",
    "* backup list",
    "* task list",
    "* quota show",
    "* repository show",
    "* server show nothing",
    "* backup show nothing",
    "* backup list nothing",
    "* backup delete nothing --yes",
    "* restore nothing --yes",
    "* task show 12345678",
    "* task cancel 12345678",
    "* task delete 12345678",
    "* backup create nothing",
    "* backup create web --name -bad",
    "* backup create web --limit nonsense",
    "* backup create",
    "* task delete",
    "* repository verify --all --share 1/7",
    "* repository verify --share 9/7",
    # --- servers
    "* repository init",
    "* server set web --freeze-without-watchdog",
    "server start web",
    "* server start web",
    "server stop web",
    "* server stop web",
    # --- backups
    "backup create web --name b1",
    write_more,
    "backup create web --name b2 --json",
    "backup create web --name b3 --full --consistency crash",
    "backup create db --name d1 --limit 50MB/s",
    "* backup list",
    "* backup list web",
    "* backup show b1",
    "* backup show b2",
    "* task list",
    "* backup delete b1",
    "backup delete b1 --yes",
    "backup delete b3 --yes --json",
    "* backup show b1",
    "* repository show",
    "repository collect",
    "repository collect --json",
    "* repository verify",
    "* repository verify --all",
    "* repository verify --share 1/1",
    "* repository verify --without-keys",
    # --- restores
    "* restore b2 --dry-run",
    "* restore b2",
    write_more,
    "restore b2 --yes",
    "restore b2 --yes --json --compare --no-start",
    "* server show web",
    "server untrack web",
    "* server untrack web",
    # --- quotas
    "* quota set",
    "* quota set --backups 2 --backup-bytes -1",
    "* quota set --backups -2",
    "* backup create web --name b4",
    "* quota show local",
    "* quota show nothing",
    "quota set --backups -1",
    # --- policies
    "* policy list",
    # A time that is over today: the service runs policies meanwhile.
    "policy create nightly web --at 00:00 --every 300d --keep 20 --keep-daily 7 --timezone UTC",
    "policy create rule --at 00:00,1:15 --days mon,thu --off --auto-bind env=prod --json",
    "policy create by-hand --description why",
    "* policy create nightly --at 00:00",
    "* policy create other web --at 00:00 --off",
    "* policy create other nothing",
    "* policy create other --at 25:00",
    "* policy create other --at 02:30,03:00",
    "* policy create other --at 02:30 --days mon --every 3d",
    "* policy create other --at 02:30 --days someday",
    "* policy create other --at 02:30 --timezone Mars",
    "* policy create other --days mon",
    "* policy create other --every sometimes --at 02:30",
    "* policy create other --keep 3",
    "* policy list",
    "* policy show nightly",
    "* policy show nothing",
    "* policy preview nightly",
    "* policy preview nothing",
    "* policy set nightly --at 00:00 --every 200d --keep -1 --keep-days 30 --keep-forever",
    "* policy set nightly --name nothing;",
    "* policy set by-hand --on",
    "* policy bind by-hand web",
    "* policy bind by-hand nothing",
    "* policy bind by-hand db",
    "* policy unbind by-hand web",
    "policy unbind by-hand db",
    "* server tag db",
    "* server tag db env=prod tier=1",
    "* policy show rule",
    "* server tag db --remove tier",
    "* server tag db b;d=1",
    "* server tag nothing a=b",
    "policy unbind rule db",
    "* policy set rule --no-auto-bind",
    "* policy delete nothing --yes",
    "policy delete rule --yes",
    "policy delete by-hand --yes --json",
    # The service looks once a minute at what is promised, this machine never: `rpo` would differ.
    "policy delete nightly --yes",
    # --- who may do what
    "* project list",
    "project create local_sales",
    "* project create local_sales",
    "* project create sales",
    "project create local_more --json",
    ("user create alice --password-stdin", PASSWORD),
    ("user create bob --password-stdin --admin --json", PASSWORD),
    ("user create alice --password-stdin", PASSWORD),
    ("user create eve --password-stdin", "short\n"),
    ("user create a;b --password-stdin", PASSWORD),
    "* user list",
    "* user show nobody",
    "* project grant local_sales alice --role reader",
    "* project grant local_sales nobody",
    "* project grant nothing alice",
    "* user show alice",
    "* user set alice --disabled",
    ("user set alice --enabled --password-stdin", "another-password\n"),
    "* project revoke local_sales alice",
    "* key list alice",
    "key create alice",
    "key create alice --json",
    "* key list alice",
    "* key create nobody",
    "* key delete NOTHING --yes",
    "* user delete alice",
    "user delete alice --yes",
    "* user delete alice --yes",
    "* server assign db nothing",
    "* server assign nothing local_sales",
    "* server assign db local_sales",
    "--project local_sales server list",
    "--project local_sales backup create db --name s1",
    "--project local_sales backup list",
    "--project nothing server list",
    "* project delete local_sales --yes",
    "* project delete nothing --yes",
    "project delete local_more --yes",
    "project delete local --yes",
    # --- damage, and tasks that failed
    lose_a_pack,
    "* repository verify --all",
    "* restore b2 --yes",
    "* restore b2 --yes --allow-holes",
    "task list",
    "* task delete --failed",
    # --- what happened, and who is told
    "* event list",
    "event list --kind rpo_broken --kind rpo_mended",
    "* event list --kind nonsense",
    "* rpo",
    "* notification list",
    "* notification show pager",
    "notification create pager --webhook https://hooks.example/csbs --kind task_failed",
    "notification create second --webhook https://hooks.example/ --json",
    "* notification create pager --webhook https://hooks.example/",
    "* notification create bad;name --webhook https://hooks.example/",
    "* notification create x --webhook http://hooks.example/",
    "* notification create x --webhook https://127.0.0.1/",
    "* notification create x --mail a@b.example",
    "* notification create x --mail nobody",
    "* notification create x",
    "* notification create x --webhook https://hooks.example/ --mail a@b.example",
    "* notification list",
    "* notification show pager",
    "* notification test nothing",
    "* notification delete nothing --yes",
    "notification delete pager --yes",
    "notification delete second --yes --json",
    "* notification delete pager --yes",
]


def test_the_same_is_shown_here_and_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    different = []
    with two_ways(tmp_path, capsys, monkeypatch) as ways:
        log_in(ways)
        for line in TABLE:
            if callable(line):
                for way in ways.both():
                    line(way)
                continue
            text, typed = (line, "") if isinstance(line, str) else line
            for words in _forms(text):
                here, there = (way(*words, typed=typed) for way in ways.both())
                if here != there:
                    different.append(f"{' '.join(words)}\n  here   {here}\n  there  {there}")
                assert here.code != 1, f"{words}: {here}"

    assert different == [], "\n".join(different)


def _forms(text: str) -> list[list[str]]:
    words = text.removeprefix("* ").split()
    return [[*words, "--json"], words] if text.startswith("* ") else [words]


#: Commands of which the table has nothing to compare, and why.
ELSEWHERE = {
    "audit list": "who did it, and from where, differs: see test_remote.py",
    "audit export": "likewise",
    "policy run": "a service begins it, this machine makes it: see test_policy_commands.py",
    "login": "it says which service: see test_login.py",
    "logout": "likewise",
    "profile list": "likewise",
    "profile show": "likewise",
    "profile use": "likewise",
}
ON_THE_HOST = {
    "serve",
    "doctor",
    "backup export",
    "repository copy",
    "repository keys",
    "repository rotate-key",
    "repository recovery-key",
    "repository rebuild-catalog",
}


def test_every_command_is_in_the_table_or_says_why_not() -> None:
    everything = {
        path.removeprefix("csbs ")
        for path, command in reference.commands(typer.main.get_command(main.app))
        if not hasattr(command, "commands")
    }
    lines = [line if isinstance(line, str) else line[0] for line in TABLE if not callable(line)]
    compared = {
        each
        for each in everything
        for line in lines
        if f" {line.removeprefix('* ')} ".startswith(f" {each} ")
    }

    assert everything == compared | set(ELSEWHERE) | ON_THE_HOST

"""The command `csbs` on real servers of a real libvirt: its output, its exit codes, bad input."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from csbs.domain.clock import new_id, sleep
from csbs.repository import text_object
from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_domains import DomainDisk, DomainServer, domain_server
from tests.integration.libvirt.conftest import Host
from tests.integration.libvirt.shell import PROGRAM, Shell, contents, typed

pytestmark = pytest.mark.host


def test_back_up_go_on_delete_wreck_restore(csbs: Shell, server: DomainServer) -> None:
    first = csbs.ok("backup", "create", server.name)
    server.write("vda", offset=3 * MIB, size=MIB, pattern=4)
    second = csbs.ok("backup", "create", server.name, "--name", "second")
    csbs.ok("server", "stop", server.name)
    expected = contents(server)
    deleted = csbs.ok("backup", "delete", first["id"], "--yes")
    collected = csbs.ok("repository", "collect")
    server.write("vda", offset=0, size=4 * MIB, pattern=9)
    server.write("vdb", offset=0, size=4 * MIB, pattern=9)
    restored = csbs.ok("restore", "second", "--yes", "--no-start")

    assert [disk["mode"] for disk in first["disks"]] == ["full"] * 3
    assert [disk["mode"] for disk in second["disks"]] == ["incremental", "incremental", "rescan"]
    assert (second["read_bytes"], second["changed_bytes"]) == (MIB + 65536, MIB)
    assert deleted["storage_after_bytes"] == 3 * MIB + 65536
    assert collected["backups_purged"] == 1
    assert [disk["action"] for disk in restored["disks"]] == ["write"] * 3
    assert contents(server) == expected
    assert [each["id"] for each in csbs.ok("backup", "list")["backups"]] == [second["id"]]
    assert [each["kind"] for each in csbs.ok("task", "list")["tasks"]] == [
        *("backup", "backup", "deletion", "restore")
    ]


def test_a_restored_server_runs_again_unless_told_otherwise(
    csbs: Shell, server: DomainServer
) -> None:
    csbs.ok("backup", "create", server.name, "--name", "b")

    assert csbs.ok("restore", "b", "--yes")["started"]
    assert server.is_active()
    assert not csbs.ok("restore", "b", "--yes", "--no-start")["started"]
    assert not server.is_active()


def test_people_see_sizes_reasons_and_what_to_do_next(csbs: Shell, server: DomainServer) -> None:
    shown = csbs("backup", "create", server.name, "--name", "b").out

    assert "vda   full  8.0 MiB" in shown
    assert "first backup of this disk" in shown
    listed = csbs("backup", "list", server.name).out.splitlines()
    assert listed[0].split()[:4] == ["NAME", "SERVER", "STATUS", "CREATED"]
    assert listed[1].split()[:3] == ["b", server.name, "available"]
    planned = csbs("restore", "b", "--dry-run").out
    raw = next(line for line in planned.splitlines() if line.startswith("vdc"))
    assert raw.startswith("vdc   write   2.0 MiB  compare: ")
    assert "raw images cannot be tracked  matched by path only" in raw
    assert "nothing was changed" in planned
    deleted = csbs("backup", "delete", "b", "--yes").out
    assert "would change from 2.1 MiB to 0 B" in deleted
    assert "csbs repository collect" in deleted


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "words"),
    [
        pytest.param(
            ("backup", "create", "nosuch"), 3, "not_found", "no server 'nosuch'", id="no server"
        ),
        pytest.param(
            ("backup", "show", "nosuch"), 3, "not_found", "no backup 'nosuch'", id="no backup"
        ),
        pytest.param(("task", "show", "nosuch"), 3, "not_found", "no task 'nosuch'", id="no task"),
        pytest.param(
            ("backup", "create", "x", "--name", "a b"),
            2,
            "invalid",
            "name: use 1 to 255",
            id="name",
        ),
        pytest.param(
            ("backup", "create", "x", "--bogus"), 2, "invalid", "No such option", id="option"
        ),
        pytest.param(("bakup",), 2, "invalid", "Did you mean 'backup'", id="command"),
        pytest.param(("restore",), 2, "invalid", "Missing argument 'BACKUP'", id="argument"),
    ],
)
def test_bad_input_is_one_clear_sentence(
    csbs: Shell, arguments: tuple[str, ...], code: int, kind: str, words: str
) -> None:
    result = csbs(*arguments, "--json")
    told = csbs(*arguments)

    assert (result.code, result.error["kind"]) == (code, kind)
    assert words in result.error["message"]
    assert (told.code, told.err.count("\n")) == (code, 1)


def test_an_ambiguous_name_lists_the_ids(csbs: Shell, server: DomainServer) -> None:
    ids = [csbs.ok("backup", "create", server.name, "--name", "twin")["id"] for _ in range(2)]
    result = csbs("backup", "show", "twin", "--json")

    assert (result.code, result.error["object"]) == (2, "twin")
    assert all(each in result.error["message"] for each in ids)
    assert csbs.ok("backup", "show", ids[0][:13])["id"] == ids[0]


def test_a_smaller_disk_is_refused_and_nothing_is_touched(
    csbs: Shell, offline_server: DomainServer
) -> None:
    offline_server.write("vda", offset=0, size=MIB, pattern=1)
    csbs.ok("backup", "create", offline_server.name, "--name", "b")
    path = offline_server.path("vda")
    csbs.ok("server", "untrack", offline_server.name)
    subprocess.run(["qemu-img", "resize", "-q", "--shrink", path, str(7 * MIB)], check=True)
    before = contents(offline_server)
    result = csbs("restore", "b", "--yes", "--json")

    assert (result.code, result.error["object"]) == (5, "vda")
    assert f"the backup's has {8 * MIB}" in result.error["message"]
    assert contents(offline_server) == before


def test_nobody_to_ask_means_no(csbs: Shell, server: DomainServer) -> None:
    csbs.ok("backup", "create", server.name, "--name", "b")

    for command in (("restore", "b"), ("backup", "delete", "b")):
        result = csbs(*command, "--json")
        assert (result.code, result.error["kind"]) == (5, "refused")
        assert "--yes" in result.error["message"]
    assert server.is_active()
    assert len(csbs.ok("backup", "list")["backups"]) == 1


@pytest.mark.parametrize(
    ("variable", "value", "code", "words"),
    [
        ("CSBS_LIBVIRT_URI", "qemu+unix:///system?socket=/nowhere", 7, "is libvirtd running"),
        ("CSBS_STORE_URL", "ftp://x", 2, "store_url"),
        ("CSBS_READERS", "many", 2, "readers"),
        ("CSBS_STOP_TIMEOUT_S", "-1", 2, "stop_timeout_s"),
    ],
)
def test_a_bad_setting_is_named(
    csbs: Shell,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    code: int,
    words: str,
) -> None:
    monkeypatch.setenv(variable, value)
    result = csbs("server", "list", "--json")

    assert result.code == code
    assert words in result.error["message"]


def test_a_user_without_rights_is_told_so(csbs: Shell, server: DomainServer) -> None:
    csbs.ok("backup", "create", server.name)
    done = subprocess.run(
        [
            *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
            *(PROGRAM, "--data-dir", str(csbs.data_dir), "server", "list"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 6, done.stderr
    assert str(csbs.data_dir) in done.stderr


def test_ctrl_c_leaves_nothing_behind(
    csbs: Shell, server: DomainServer, tmp_path: Path, wait_for: Callable[[Path], None]
) -> None:
    first = csbs.ok("backup", "create", server.name)
    opened = tmp_path / "opened"
    process = typed(
        csbs, "backup", "create", server.name, "--while-open", f"touch {opened}; sleep 60"
    )
    wait_for(opened)
    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=20) == 130
    assert [each["id"] for each in csbs.ok("backup", "list")["backups"]] == [first["id"]]
    assert csbs.ok("task", "list")["tasks"][-1]["state"] == "cancelled"
    assert server.checkpoints() == [f"csbs-{first['id']}"]
    assert not server.has_job()


def test_what_a_killed_backup_left_is_cleared_by_the_next(
    csbs: Shell, server: DomainServer, tmp_path: Path, wait_for: Callable[[Path], None]
) -> None:
    csbs.ok("backup", "create", server.name)
    opened = tmp_path / "opened"
    process = typed(
        csbs, "backup", "create", server.name, "--while-open", f"touch {opened}; sleep 60"
    )
    wait_for(opened)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=20)
    assert server.has_job()
    server.write("vda", offset=2 * MIB, size=MIB, pattern=7)
    last = csbs.ok("backup", "create", server.name)

    assert [disk["mode"] for disk in last["disks"]] == ["incremental", "incremental", "rescan"]
    assert [each["status"] for each in csbs.ok("backup", "list")["backups"]] == [
        *("available", "error", "available")
    ]
    assert server.checkpoints() == [f"csbs-{last['id']}"]
    csbs.ok("restore", last["id"], "--yes", "--no-start")
    assert contents(server)["vda"][2 * MIB : 3 * MIB] == b"\x07" * MIB


def test_a_second_backup_at_once_is_refused(
    csbs: Shell, server: DomainServer, tmp_path: Path, wait_for: Callable[[Path], None]
) -> None:
    csbs.ok("backup", "create", server.name, "--name", "b")
    opened, go_on = tmp_path / "opened", tmp_path / "go-on"
    command = f"touch {opened}; until [ -e {go_on} ]; do sleep 0.05; done"
    process = typed(csbs, "backup", "create", server.name, "--while-open", command)
    wait_for(opened)
    results = [
        csbs("backup", "create", server.name, "--json"),
        csbs("restore", "b", "--yes", "--json"),
        csbs("backup", "delete", "b", "--yes", "--json"),
        csbs("server", "stop", server.name, "--json"),
        csbs("repository", "collect", "--json"),
    ]
    go_on.touch()

    assert process.wait(timeout=60) == 0
    assert [result.code for result in results] == [4] * 5
    assert all(server.name in result.error["message"] for result in results[:4])
    assert len(csbs.ok("backup", "list")["backups"]) == 2


def test_starting_a_server_cancels_the_backup_that_holds_its_disks(
    csbs: Shell,
    offline_server: DomainServer,
    tmp_path: Path,
    wait_for: Callable[[Path], None],
) -> None:
    opened = tmp_path / "opened"
    process = typed(
        csbs, "backup", "create", offline_server.name, "--while-open", f"touch {opened}; sleep 60"
    )
    wait_for(opened)
    started = csbs.ok("server", "start", offline_server.name)

    assert started["state"] == "running"
    assert process.wait(timeout=20) == 130
    assert csbs.ok("backup", "list")["backups"] == []


def test_untrack_lets_the_server_go(csbs: Shell, server: DomainServer) -> None:
    first = csbs.ok("backup", "create", server.name)
    removed = csbs.ok("server", "untrack", server.name)["removed"]
    again = csbs.ok("backup", "create", server.name)

    assert removed == [f"csbs-{first['id']}"]
    assert [disk["mode"] for disk in again["disks"]] == ["rescan"] * 3
    assert again["changed_bytes"] == 0


def test_a_setting_of_a_server_is_shown(csbs: Shell, server: DomainServer) -> None:
    shown = [csbs("server", "show", server.name).out]
    for option in ("--freeze-without-watchdog", "--no-freeze-without-watchdog"):
        said = csbs("server", "set", server.name, option).out
        shown.append(csbs("server", "show", server.name).out)
        words = "even where no watchdog" if len(shown) == 2 else "only where a watchdog"
        assert words in said
        assert words in shown[-1]

    assert shown[0] == shown[2] != shown[1]


def test_doctor_finds_that_this_host_fits(csbs: Shell) -> None:
    found = csbs.ok("doctor")

    assert found["fits"]
    assert {"libvirt", "qemu-nbd", "data folder"} <= {each["name"] for each in found["checks"]}


def test_doctor_says_what_is_missing(csbs: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSBS_LIBVIRT_URI", "qemu+unix:///system?socket=/nowhere")
    result = csbs("doctor", "--json")

    assert (result.code, result.document["fits"]) == (7, False)
    [failed] = [each for each in result.document["checks"] if each["name"] == "libvirt"]
    assert failed["advice"]


@pytest.fixture
def full_data_folder(csbs: Shell, server: DomainServer) -> Iterator[Path]:
    """A data folder with two backups, on a file system of its own without a free byte."""
    folder = csbs.data_dir
    folder.mkdir()
    # New backups must leave 1 GiB; twice the reserve comes on top.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200M", "csbs", folder], check=True)
    try:
        csbs.ok("backup", "create", server.name, "--name", "first")
        server.write("vda", offset=0, size=MIB, pattern=8)
        csbs.ok("backup", "create", server.name, "--name", "second")
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={folder}/filler", "bs=64k"], check=False, timeout=60
        )
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_data_folder_refuses_backups_and_can_be_emptied(
    csbs: Shell, server: DomainServer, full_data_folder: Path
) -> None:
    refused = csbs("backup", "create", server.name, "--json")
    deleted = csbs.ok("backup", "delete", "first", "--yes")
    collected = csbs.ok("repository", "collect")

    assert (refused.code, refused.error["object"]) == (7, str(full_data_folder))
    assert deleted["backup"]["name"] == "first"
    assert collected["backups_purged"] == 1
    assert [each["name"] for each in csbs.ok("backup", "list")["backups"]] == ["second"]
    assert csbs.ok("restore", "second", "--yes", "--no-start")["started"] is False


def test_a_server_without_disks_is_named(csbs: Shell, host: Host) -> None:
    with domain_server((), new_id=new_id, sleep=sleep) as empty:
        result = csbs("backup", "create", empty.name, "--json")

    assert (result.code, result.error["object"]) == (5, empty.name)
    assert "no disk that can be backed up" in result.error["message"]


def test_a_repository_of_a_newer_format_is_left_alone(csbs: Shell, server: DomainServer) -> None:
    csbs.ok("backup", "create", server.name, "--name", "b")
    [config] = csbs.data_dir.glob("store/*/config")
    fields = text_object.decode("config", text_object.CONFIG_MAGIC, config.read_bytes())
    config.write_bytes(text_object.encode(text_object.CONFIG_MAGIC, fields | {"format": 2}))
    before = {path: path.read_bytes() for path in config.parent.rglob("*") if path.is_file()}
    results = [
        csbs("backup", "create", server.name, "--json"),
        csbs("restore", "b", "--yes", "--json"),
        csbs("backup", "delete", "b", "--yes", "--json"),
        csbs("repository", "collect", "--json"),
    ]

    assert [result.code for result in results] == [5] * 4
    assert all("install a newer csbs" in result.error["message"] for result in results)
    after = {path: path.read_bytes() for path in config.parent.rglob("*") if path.is_file()}
    assert after == before
    assert server.is_active()


def test_an_unmounted_store_is_never_made_anew(csbs: Shell, server: DomainServer) -> None:
    csbs.ok("backup", "create", server.name, "--name", "b")
    store = csbs.data_dir / "store"
    store.rename(csbs.data_dir / "elsewhere")
    store.mkdir()  # an empty mount point
    result = csbs("backup", "create", server.name, "--json")

    assert result.code == 7
    assert "is it mounted" in result.error["message"]
    assert list(store.rglob("*")) == []
    store.rmdir()
    (csbs.data_dir / "elsewhere").rename(store)
    assert csbs.ok("restore", "b", "--yes")["started"]


def wait_until_half_written(catalog: Path) -> None:
    """Waits until a restore has marked its server."""
    pause = threading.Event()
    for _ in range(6000):
        with closing(sqlite3.connect(catalog, timeout=30)) as connection:
            marked = connection.execute("SELECT restoring_backup_id FROM servers").fetchone()[0]
        if marked is not None:
            return
        pause.wait(0.01)
    pytest.fail("the restore did not begin")


def test_a_restore_that_was_killed_keeps_the_server_down_until_it_is_done(csbs: Shell) -> None:
    disk = DomainDisk(target="vda", size_bytes=512 * MIB)
    with domain_server((disk,), new_id=new_id, sleep=sleep) as big:
        big.write("vda", offset=0, size=512 * MIB, pattern=5)
        csbs.ok("backup", "create", big.name, "--name", "b")
        expected = big.content("vda")
        big.write("vda", offset=0, size=256 * MIB, pattern=6)
        process = typed(csbs, "restore", "b", "--yes")
        wait_until_half_written(csbs.data_dir / "catalog.sqlite")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)

        started = csbs("server", "start", big.name, "--json")
        backed_up = csbs("backup", "create", big.name, "--json")
        assert [started.code, backed_up.code] == [5, 5]
        assert "half written" in started.error["message"]
        assert "csbs restore" in backed_up.error["message"]
        assert not big.is_active()
        [disk_done] = (done := csbs.ok("restore", "b", "--yes", "--no-start"))["disks"]
        assert big.content("vda") == expected
        assert done["resumed"]
        assert disk_done["written_bytes"] + disk_done["unchanged_bytes"] == 512 * MIB
        assert disk_done["unchanged_bytes"] >= 256 * MIB
        assert csbs.ok("server", "start", big.name)["state"] == "running"


def test_a_stopped_server_with_a_raw_disk_alone_cannot_start_meanwhile(
    csbs: Shell, host: Host, tmp_path: Path, wait_for: Callable[[Path], None]
) -> None:
    disk = DomainDisk(target="vda", size_bytes=MIB, format="raw")
    with domain_server((disk,), new_id=new_id, sleep=sleep) as raw:
        opened, go_on = tmp_path / "opened", tmp_path / "go-on"
        command = f"touch {opened}; until [ -e {go_on} ]; do sleep 0.05; done"
        process = typed(csbs, "backup", "create", raw.name, "--while-open", command)
        wait_for(opened)
        virsh = ["virsh", "-c", host.uri, "start", raw.name]
        started = subprocess.run(virsh, capture_output=True, text=True, timeout=60, check=False)
        go_on.touch()

        assert process.wait(timeout=60) == 0
        assert (started.returncode, raw.is_active()) == (1, False)
        assert "lock" in started.stderr

"""A real Debian guest with MariaDB, through the command `csbs`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.testing.guest import GuestServer, Progress, Workload
from demo.command import CsbsCommand
from demo.story import image_sha256, second_reader
from tests.e2e.conftest import BOOT_TIMEOUT_S
from tests.e2e.host import virsh

_WRITE_TIMEOUT_S = 120.0
MORE = Progress(rows=100, files=2)

pytestmark = [pytest.mark.host, pytest.mark.guest, pytest.mark.timeout(900)]


def boot(csbs: CsbsCommand, guest: GuestServer) -> Workload:
    csbs("server", "start", guest.name)
    guest.shell.wait_until_ready(timeout_s=BOOT_TIMEOUT_S)
    workload = Workload(guest.shell)
    workload.wait_for_database(timeout_s=BOOT_TIMEOUT_S)
    return workload


def kill_a_backup(csbs: CsbsCommand, guest: GuestServer, folder: Path) -> None:
    """Begins a backup and kills csbs with -9 while its job is open."""
    opened = folder / "opened"
    command = f"touch {opened}; sleep 600"
    program = Path(sys.executable).with_name("csbs")
    settings = [
        f"CSBS_DATA_DIR={csbs.data_dir}",
        f"CSBS_RUN_DIR={csbs.run_dir}",
        f"CSBS_SCRATCH_DIR={csbs.scratch_dir}",
    ]
    arguments = ["backup", "create", guest.name, "--while-open", command]
    process = subprocess.Popen(["env", *settings, program, *arguments], start_new_session=True)
    try:
        subprocess.run(
            ["sh", "-c", f"until [ -e {opened} ]; do sleep 0.1; done"], check=True, timeout=120
        )
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def test_a_lost_server_boots_on_another_host(
    csbs: CsbsCommand, guest: GuestServer, tmp_path: Path
) -> None:
    """Nothing is left of its host but the store."""
    workload = boot(csbs, guest)
    workload.begin()
    workload.wait_for_more(MORE, timeout_s=_WRITE_TIMEOUT_S)
    before = workload.progress()
    csbs(
        *("backup", "create", guest.name, "--name", "last"),
        *("--while-open", second_reader(tmp_path, list(guest.disks))),
    )
    after = workload.progress()
    csbs("server", "stop", guest.name)
    virsh("undefine", guest.name, "--checkpoints-metadata")
    for path in guest.disks.values():
        path.unlink()
    shutil.move(csbs.data_dir / "store", tmp_path / "store")
    shutil.rmtree(csbs.data_dir)

    elsewhere = replace(
        csbs,
        data_dir=tmp_path / "elsewhere",
        settings=(f"CSBS_STORE_URL=file://{tmp_path}/store",),
    )
    rebuilt = elsewhere("repository", "rebuild-catalog", "--take-over")
    output = str(guest.folder / "exported")
    exported = elsewhere("backup", "export", "last", "--output", output)
    references = {
        target: (tmp_path / target).read_text(encoding="ascii").split()[0] for target in guest.disks
    }

    assert (rebuilt["backups"], rebuilt["damaged"]) == (1, [])
    assert {
        disk["target"]: image_sha256(Path(disk["file"])) for disk in exported["disks"]
    } == references

    virsh("define", exported["definition"])
    found = boot(elsewhere, guest).check()

    assert found.reaches(before)
    assert after.reaches(found)
    elsewhere("backup", "create", guest.name)
    assert len(elsewhere("backup", "list")["backups"]) == 2


def test_a_server_comes_back_after_a_killed_backup_a_deletion_and_a_lost_disk(
    csbs: CsbsCommand, guest: GuestServer, tmp_path: Path
) -> None:
    workload = boot(csbs, guest)
    workload.begin()
    workload.wait_for_more(MORE, timeout_s=_WRITE_TIMEOUT_S)
    first = csbs("backup", "create", guest.name, "--name", "first")
    kill_a_backup(csbs, guest, tmp_path)
    workload.wait_for_more(MORE, timeout_s=_WRITE_TIMEOUT_S)
    before = workload.progress()
    second = csbs(
        *("backup", "create", guest.name, "--name", "second"),
        *("--while-open", second_reader(tmp_path, list(guest.disks))),
    )
    after = workload.progress()
    csbs("backup", "delete", first["id"], "--yes")
    csbs("repository", "collect")

    assert [disk["mode"] for disk in first["disks"]] == ["full", "full"]
    assert [disk["mode"] for disk in second["disks"]] == ["incremental", "incremental"]
    assert [each["status"] for each in csbs("backup", "list")["backups"]] == ["error", "available"]

    csbs("server", "stop", guest.name)
    guest.disks["vdb"].unlink()
    done = csbs("restore", second["id"], "--yes", "--no-start")

    assert [disk["action"] for disk in done["disks"]] == ["write", "create"]
    references = {
        target: (tmp_path / target).read_text(encoding="ascii").split()[0] for target in guest.disks
    }
    assert {target: image_sha256(path) for target, path in guest.disks.items()} == references

    found = boot(csbs, guest).check()

    assert found.reaches(before)
    assert after.reaches(found)

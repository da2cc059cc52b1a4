"""Scratch space that is too small: the backup ends, the guest goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from csbs.domain.errors import ToolFailed
from csbs.testing.guest import GuestServer
from csbs.testing.libvirt_daemon import URI
from demo.command import CsbsCommand
from tests.e2e.conftest import BOOT_TIMEOUT_S, csbs_for, stopped_guest
from tests.e2e.host import WAIT_S, virsh, wait_until

#: The scratch file system, and much more than that.
SCRATCH = "16m"
#: Overwrites 96 MiB that were there before the backup began.
OVERWRITE = (
    "dd if=/dev/urandom of=/root/big bs=1M count=96 conv=notrunc,fsync oflag=direct 2>/dev/null"
)

pytestmark = [pytest.mark.host, pytest.mark.guest, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Lab:
    """A guest that runs, with scratch space of its own."""

    guest: GuestServer
    csbs: CsbsCommand

    def back_up(self, *settings: str, while_open: str = "true") -> None:
        csbs = replace(self.csbs, settings=("CSBS_SCRATCH_RESERVE_BYTES=0", *settings))
        csbs("backup", "create", self.guest.name, "--while-open", while_open)

    def overwrite(self) -> str:
        """A host's command that lets the guest overwrite much, and waits until it has begun to."""
        request = (
            '{"execute": "guest-exec", "arguments": {"path": "/bin/sh", "arg": ["-c", "'
            f'{OVERWRITE}; touch /run/overwritten"]}}}}'
        )
        return f"virsh -c {URI} qemu-agent-command {self.guest.name} '{request}'"

    def wait_until_overwritten(self) -> None:
        self.guest.shell.run(
            "until [ -e /run/overwritten ]; do sleep 0.2; done; rm /run/overwritten"
        )

    def job_runs(self) -> bool:
        return "None" not in virsh("domjobinfo", self.guest.name)

    def check(self) -> None:
        """The server runs, no job and no scratch file is left, and backups work."""
        assert virsh("domstate", self.guest.name) == "running"
        wait_until(lambda: not self.job_runs(), "the job has ended")
        self.guest.shell.run("sync; dmesg | grep -E 'I/O error|EXT4-fs error' && exit 1; true")
        self.back_up()
        assert list(self.csbs.scratch_dir.glob("*/*")) == []


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with stopped_guest() as guest, small_file_system(guest.folder / "scratch"):
        csbs = csbs_for(guest, tmp_path_factory.mktemp("scratch") / "data")
        csbs("server", "start", guest.name)
        guest.shell.wait_until_ready(timeout_s=BOOT_TIMEOUT_S)
        guest.shell.run(OVERWRITE, timeout_s=WAIT_S)
        yield Lab(guest, csbs)


@pytest.fixture
def lab(booted: Lab) -> Lab:
    # Nothing else may use up the space before the guest is asked to overwrite much.
    booted.guest.shell.run("sync")
    return booted


@contextmanager
def small_file_system(folder: Path) -> Iterator[None]:
    """Mounted before QEMU starts: QEMU may live in a mount namespace of its own."""
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SCRATCH}", "csbs-test", str(folder)],
        check=True,
        timeout=30,
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


def test_a_full_scratch_folder_ends_the_backup_and_not_the_server(lab: Lab) -> None:
    """With no reserve at all QEMU pauses the server; the guard lets it go on."""
    with pytest.raises(ToolFailed, match="paused by an I/O error"):
        lab.back_up(while_open=f"{lab.overwrite()}; sleep 600")

    lab.wait_until_overwritten()
    lab.check()


def test_with_a_reserve_the_server_is_never_paused(lab: Lab) -> None:
    with pytest.raises(ToolFailed, match="must stay free"):
        lab.back_up(
            "CSBS_SCRATCH_RESERVE_BYTES=12000000", while_open=f"{lab.overwrite()}; sleep 600"
        )

    lab.wait_until_overwritten()
    lab.check()


def test_a_server_that_overwrites_more_than_the_cap(lab: Lab) -> None:
    with pytest.raises(ToolFailed, match="overwrote more than 2 MiB"):
        lab.back_up(
            "CSBS_SCRATCH_MAX_BYTES=2000000",
            while_open=f"{lab.overwrite()}; sleep 600",
        )

    lab.wait_until_overwritten()
    lab.check()


def test_the_guard_works_when_csbs_is_killed(lab: Lab) -> None:
    with pytest.raises(ToolFailed, match="exit -9"):
        lab.back_up(while_open=f"{lab.overwrite()}; kill -9 $PPID; sleep 1")

    wait_until(lambda: not lab.job_runs(), "the guard has ended the job")

    lab.wait_until_overwritten()
    lab.check()

"""Freezing a real guest: what goes wrong stops no program in it longer than was promised.

A writer inside the guest writes durably to both disks all the time and keeps the longest that it
had to wait, by its own clock.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from csbs.config import Settings
from csbs.domain.errors import ToolFailed
from csbs.testing.guest import GuestServer, GuestWriter
from csbs.testing.libvirt_daemon import own_libvirtd, restart_libvirtd
from demo.command import CsbsCommand
from tests.e2e.conftest import Running
from tests.e2e.host import WAIT_S, virsh, wait_until
from tests.integration.kills.service import Client, ServiceProcess

#: The budget of a freeze, and what the watchdog in the guest may take beyond it.
LONGEST_WAIT_MS = 3000 + 2000

pytestmark = [pytest.mark.host, pytest.mark.guest, pytest.mark.timeout(900)]

#: Runs csbs with something that happens when the disks are about to be opened, all frozen.
SABOTAGED = """
import os, signal, subprocess, sys
from csbs.cli.main import main
from csbs.compute.libvirt import live_job
begin = live_job._begin
def sabotaged(*arguments):
{action}
    return begin(*arguments)
live_job._begin = sabotaged
main()
"""
#: Does something in the guest as soon as its file systems are frozen, although the agent is deaf.
WHEN_FROZEN = """
cat > /run/when-frozen << 'END'
until [ -e /run/qga.state.isfrozen ]; do sleep 0.02; done
{action}
END
rm -f /run/qga.state.isfrozen.done
systemd-run --quiet --collect --unit=csbs-when-frozen-$$ /bin/sh /run/when-frozen
"""

KILL_WHEN_ROOT_IS_FROZEN = """
while :; do
    : > /var/tmp/csbs-test-probe &
    sleep 0.3
    ! kill -0 $! 2> /dev/null || break
done
pkill -KILL qemu-ga
"""


@dataclass(frozen=True)
class Lab:
    """A guest that runs, a writer in it, and the command."""

    guest: GuestServer
    writer: GuestWriter
    csbs: CsbsCommand

    def back_up(self) -> Any:
        return self.csbs("backup", "create", self.guest.name)["consistency"]

    def back_up_with(self, action: str) -> Any:
        """A backup during which `action` (Python) happens while all is frozen."""
        script = SABOTAGED.format(action=textwrap.indent(textwrap.dedent(action).strip(), "    "))
        csbs = replace(self.csbs, program=(sys.executable, "-c", script))
        return csbs("backup", "create", self.guest.name)["consistency"]

    def soon(self, script: str) -> None:
        """Runs in the guest, when the agent has answered this."""
        self.guest.shell.run(f"systemd-run --quiet --collect /bin/sh -c 'sleep 1; {script}'")

    def answers(self) -> bool:
        """Whether the agent does; libvirt gives it 5 s for a sign of life."""
        try:
            virsh("qemu-agent-command", self.guest.name, '{"execute": "guest-ping"}')
        except subprocess.CalledProcessError:
            return False
        return True

    def runs_programs(self) -> bool:
        """Whether the agent runs programs."""
        try:
            self.guest.shell.run("true")
        except ToolFailed:
            return False
        return True

    def bring_back_agent(self) -> None:
        """Waits for it; libvirt loses one for good that dies in the middle of an exchange."""
        try:
            wait_until(self.runs_programs, "the agent works")
        except AssertionError:
            restart_libvirtd()
            wait_until(self.runs_programs, "the agent works")

    @property
    def debt(self) -> Path:
        """Record of the thaw that is owed."""
        domain_id = virsh("domuuid", self.guest.name)
        return self.csbs.run_dir / domain_id / "thaw-debt"

    def wait_until_paid(self) -> None:
        """By the guard, which looks after the debt when csbs is gone."""
        wait_until(lambda: not self.debt.exists(), "the thaw is paid")


@pytest.fixture(scope="module")
def booted(running: Running) -> Iterator[Lab]:
    writer = GuestWriter(shell=running.guest.shell)
    writer.begin()
    yield Lab(running.guest, writer, running.csbs)
    writer.end()


@pytest.fixture
def lab(booted: Lab) -> Iterator[Lab]:
    booted.writer.reset()
    yield booted
    booted.bring_back_agent()
    booted.wait_until_paid()
    assert booted.writer.longest_wait_ms() <= LONGEST_WAIT_MS
    assert booted.back_up()["reached"] == "filesystem"


def test_file_systems_are_frozen_for_the_instant_only(lab: Lab) -> None:
    consistency = lab.back_up()

    assert (consistency["asked"], consistency["reached"]) == ("filesystem", "filesystem")
    assert consistency["freeze"]["file_systems"] == 2
    assert 0 < consistency["freeze"]["frozen_in_guest_ms"] <= consistency["freeze"]["frozen_ms"]
    assert not lab.debt.exists()


def test_crash_consistency_freezes_nothing(lab: Lab) -> None:
    made = lab.csbs("backup", "create", lab.guest.name, "--consistency", "crash")

    assert made["consistency"] == {
        "asked": "crash",
        "reached": "crash",
        "reason": "",
        "freeze": None,
    }


def test_without_an_agent(lab: Lab) -> None:
    lab.soon("systemctl stop qemu-guest-agent; sleep 8; systemctl start qemu-guest-agent")
    wait_until(lambda: "disconnected" in virsh("dumpxml", lab.guest.name), "the agent is gone")

    consistency = lab.back_up()

    assert consistency["reached"] == "crash"
    assert "agent is not connected" in consistency["reason"]


def test_an_agent_that_hangs_before(lab: Lab) -> None:
    lab.soon("pkill -STOP qemu-ga; sleep 15; pkill -CONT qemu-ga")
    wait_until(lambda: not lab.answers(), "the agent hangs")

    consistency = lab.back_up()

    assert consistency["reached"] == "crash"
    assert "agent" in consistency["reason"]


def test_an_agent_that_hangs_while_frozen(lab: Lab) -> None:
    action = "pkill -STOP qemu-ga; sleep 25; pkill -CONT qemu-ga"
    lab.guest.shell.run(WHEN_FROZEN.format(action=action))

    consistency = lab.back_up_with("import time; time.sleep(1.5)")

    assert consistency["reached"] == "crash"
    assert "still were at the end" in consistency["reason"]
    assert lab.debt.exists()


def test_an_agent_that_is_started_again_while_frozen(lab: Lab) -> None:
    # systemd starts it again at once.  In the middle of its work libvirt would lose it for good, so
    # it is killed when it has answered: the root is frozen last, and then a writer hangs.
    before = lab.guest.shell.run("pidof qemu-ga")
    lab.guest.shell.run(WHEN_FROZEN.format(action=KILL_WHEN_ROOT_IS_FROZEN))

    lab.back_up_with("import time; time.sleep(2)")

    wait_until(lab.runs_programs, "the agent works")
    assert lab.guest.shell.run("pidof qemu-ga") != before


def test_an_agent_that_may_start_no_program(lab: Lab) -> None:
    lab.soon(
        "systemctl stop qemu-guest-agent; "
        "timeout 10 /usr/sbin/qemu-ga --block-rpcs=guest-exec; systemctl start qemu-guest-agent"
    )
    wait_until(lambda: not lab.runs_programs(), "the agent is another one")
    lab.guest.shell.wait_until_ready(timeout_s=WAIT_S)

    consistency = lab.back_up()

    assert consistency["reached"] == "crash"
    assert consistency["reason"] == "the guest agent does not allow guest-exec"


def test_csbs_killed_while_frozen(lab: Lab) -> None:
    with pytest.raises(ToolFailed, match="exit -9"):
        lab.back_up_with("os.kill(os.getpid(), signal.SIGKILL)")

    assert lab.debt.exists()
    lab.wait_until_paid()


def test_csbs_and_its_guard_killed_while_frozen(lab: Lab) -> None:
    with pytest.raises(ToolFailed, match="exit -9"):
        lab.back_up_with(
            """
            for child in open(f"/proc/self/task/{os.getpid()}/children").read().split():
                os.kill(int(child), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
            """
        )

    # Nobody at the host thaws.  The next command for that server pays the debt, once it is late.
    def is_paid() -> bool:
        lab.csbs("server", "show", lab.guest.name)
        return not lab.debt.exists()

    wait_until(is_paid, "a later command pays the debt")


def test_a_service_and_its_guard_killed_while_frozen(lab: Lab, tmp_path: Path) -> None:
    action = """
    for task in os.listdir("/proc/self/task"):
        for child in open(f"/proc/self/task/{task}/children").read().split():
            os.kill(int(child), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    script = SABOTAGED.format(action=textwrap.indent(textwrap.dedent(action).strip(), "    "))
    settings = Settings(
        data_dir=lab.csbs.data_dir, run_dir=lab.csbs.run_dir, scratch_dir=lab.csbs.scratch_dir
    )
    dying, whole = (
        ServiceProcess([sys.executable, "-c", program, "serve"], settings, tmp_path / "log")
        for program in (script, SABOTAGED.format(action="    pass"))
    )
    dying.start()
    with closing(Client(dying.url)) as client:
        answer = client.call("POST", "/backups", {"server": lab.guest.name})
    assert (answer.status_code, dying.wait()) == (202, -9)
    assert lab.debt.exists()

    whole.start()
    try:
        wait_until(lambda: not lab.debt.exists(), "the next start pays the debt")
        with closing(Client(whole.url)) as client:
            client.wait_until_ended()
            assert client.tasks()[-1]["error"]["code"] == "ProcessDied"
    finally:
        whole.kill()


def test_libvirtd_stopped_while_frozen(lab: Lab) -> None:
    pid = own_libvirtd().pid

    consistency = lab.back_up_with(
        f"""
        os.kill({pid}, signal.SIGSTOP)
        subprocess.Popen(["setsid", "sh", "-c", "sleep 8; kill -CONT {pid}"])
        """
    )

    assert consistency["reached"] == "crash"
    assert "longer than the file systems may be frozen" in consistency["reason"]


def test_disks_that_cannot_be_opened(lab: Lab) -> None:
    with pytest.raises(ToolFailed, match="no such thing"):
        lab.back_up_with(
            """
            from csbs.domain.errors import DriverFailed
            raise DriverFailed("web", "vda", "the backup", "no such thing")
            """
        )

    assert not lab.debt.exists()


def test_a_server_that_is_undefined_while_a_thaw_is_owed(lab: Lab) -> None:
    action = "pkill -STOP qemu-ga; sleep 25; pkill -CONT qemu-ga"
    lab.guest.shell.run(WHEN_FROZEN.format(action=action))
    definition = lab.guest.folder / "again.xml"
    definition.write_text(virsh("dumpxml", "--inactive", lab.guest.name), encoding="utf-8")

    lab.back_up_with("import time; time.sleep(1.5)")
    assert lab.debt.exists()
    virsh("undefine", lab.guest.name, "--checkpoints-metadata")
    try:
        lab.wait_until_paid()
    finally:
        virsh("define", str(definition))

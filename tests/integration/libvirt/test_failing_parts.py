"""Chains of backups in which csbs, libvirtd or a disk fails.

Each backup is held against the disks byte for byte, in the end once more (`csbs.testing.chain`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain as links
from itertools import count
from pathlib import Path

import pytest

from csbs.catalog import tasks
from csbs.compute.libvirt import DriverOptions, LibvirtDriver
from csbs.config import Settings
from csbs.domain.clock import new_id
from csbs.domain.errors import DiskUnreadable, HypervisorTimeout, ToolFailed
from csbs.domain.task import TaskState
from csbs.testing import by_hand
from csbs.testing.chain import Chain, told
from csbs.testing.dying_backup import backup_dies
from csbs.testing.libvirt_daemon import libvirtd_hanging, restart_libvirtd
from csbs.testing.libvirt_domains import PREFIX, DomainDisk, make_image
from tests.integration.libvirt.chains import (
    ALL_TRACKED,
    DISKS,
    FIRST,
    MIB,
    NETWORK,
    TRACKED,
    go_on,
    new_chain,
    next_backup,
)
from tests.integration.libvirt.conftest import BeginChain

pytestmark = pytest.mark.host

STEPS = (
    *("begin", "copy", "look on", "end job"),
    *("commit", "record", "retire tracking"),
)
AFTER = [f"after {step}" for step in STEPS]


def place_of_death(chain: Chain) -> str:
    """Where the newest task of the catalog stopped, from its journal."""
    backups = chain.backups
    with backups.catalog.transaction() as transaction:
        task = tasks.of_project(transaction, backups.project_id)[-1]
        steps = tasks.steps(transaction, backups.project_id, task.id)
    done = [step.name for step in steps if step.ended_at is not None]
    if task.state is TaskState.DONE or len(done) == len(STEPS):
        return "outside all steps"
    return f"after {steps[-1].name}" if steps else "before all steps"


@pytest.mark.parametrize(
    ("running", "numbers", "places"),
    [
        pytest.param(True, count(), {"before all steps", *AFTER}, id="running"),
        # Half of the places suffice here: every second call of the clock is behind a step, but for
        # the thirteenth and sixteenth, when `commit` and `record` ask what time it is.
        pytest.param(False, links(range(1, 13, 2), [14], count(17, 2)), {*AFTER}, id="stopped"),
    ],
)
def test_csbs_is_killed_around_each_step(
    begin_chain: BeginChain,
    settings: Settings,
    *,
    running: bool,
    numbers: Iterator[int],
    places: set[str],
) -> None:
    chain = begin_chain(31)
    if not running:
        chain.server.power_off()
    found = set()
    for number in numbers:
        chain.scribble()
        content = chain.content
        if not backup_dies(settings, chain.server.id, number):
            break
        found.add(place_of_death(chain))
        if running:  # else the dead csbs's qemu-nbd still holds the images
            chain.scribble()
        assert told(chain.back_up()) == ALL_TRACKED
        chain.adopt(content)

    assert places - found == set()
    if not running:
        chain.server.start()
    go_on(chain)


def test_libvirtd_is_restarted_and_hangs(begin_chain: BeginChain, settings: Settings) -> None:
    chain = begin_chain(32)

    chain.scribble()
    restart_libvirtd()
    assert next_backup(chain) == ALL_TRACKED

    chain.scribble()
    backup = chain.back_up(during=restart_libvirtd)
    assert told(backup) == ALL_TRACKED

    chain.scribble()
    impatient = LibvirtDriver(
        settings.libvirt_uri,
        run_folder=settings.run_dir,
        scratch_folder=settings.scratch_dir,
        options=DriverOptions(call_timeout_s=1),
    )
    with ExitStack() as hanging:
        error = chain.fail(
            during=lambda: hanging.enter_context(libvirtd_hanging()),
            backups=replace(chain.backups, driver=impatient),
        )
    assert isinstance(error, HypervisorTimeout)
    assert "1 s" in str(error)
    go_on(chain)


def test_a_restart_of_a_libvirtd_that_is_not_ours_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"systemctl stop libvirtd\.socket libvirtd"):
        restart_libvirtd(tmp_path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that QEMU can enter."""
    folder = Path("/run") / f"{PREFIX}{new_id()[:8]}"
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_disk_that_cannot_be_read_fails_the_backup_and_not_the_server(
    settings: Settings, tmp_path: Path, folder: Path
) -> None:
    image, socket = folder / "vdb.qcow2", folder / "vdb.sock"
    disks = (
        DISKS[0],
        DomainDisk(target="vdb", size_bytes=2 * MIB, serial="over-nbd", nbd_socket=socket),
    )
    make_image(image, disks[1])
    os.truncate(image, 2 * disks[1].size_bytes)  # over NBD the file cannot grow
    with (
        by_hand.failing_image(image, socket) as trigger,
        new_chain(settings, seed=33, tmp=tmp_path, disks=disks) as chain,
    ):
        chain.server.start()
        assert next_backup(chain) == {"vda": FIRST, "vdb": FIRST}
        assert next_backup(chain) == {"vda": TRACKED, "vdb": NETWORK}

        chain.scribble()
        trigger.touch()
        error = chain.fail()
        trigger.unlink()
        assert isinstance(error, DiskUnreadable)
        assert error.disk.startswith("vdb")
        assert chain.driver.describe(chain.server.id).state == "running"

        for _ in range(3):
            assert next_backup(chain) == {"vda": TRACKED, "vdb": NETWORK}
        chain.check_all()

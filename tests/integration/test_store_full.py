"""A store that runs full: nothing is hurt, and it can be emptied."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.domain.backup import Backup, BackupState
from csbs.repository.errors import StoreFull
from tests.unit.workflows.service_lab import MIB, ServiceLab

DISK_SIZE = 48 * MIB
#: Room for the reserve (64 MiB), three backups of random bytes, and two thirds of a fourth.
STORE_SIZE = 256 * MIB
MIN_FREE = 16 * MIB

pytestmark = pytest.mark.host


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={STORE_SIZE}", "csbs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def lab(tmp_path: Path, small_disk: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(
        tmp_path,
        store_folder=small_disk / "store",
        min_free_bytes=MIN_FREE,
        vda_size_bytes=DISK_SIZE,
    )
    yield made
    made.close()


def backed_up(lab: ServiceLab, folder: Path, seed: int) -> Backup:
    """A backup after the whole disk got bytes that cannot be compressed."""
    noise = folder / "noise"
    noise.write_bytes(random.Random(seed).randbytes(DISK_SIZE))
    command = f"write -q -s {noise} 0 {DISK_SIZE}"
    path = lab.server.path("vda")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, path], check=True, timeout=60)
    return lab.back_up()


def test_a_full_store_fails_one_backup_and_deletion_makes_room(
    lab: ServiceLab, tmp_path: Path
) -> None:
    made = [(backed_up(lab, tmp_path, seed), lab.content()) for seed in range(3)]
    with pytest.raises(StoreFull, match="csbs repository collect"):
        backed_up(lab, tmp_path, 3)

    failed = lab.listed()[-1]
    assert failed.state is BackupState.ERROR
    assert "is full" in failed.fail_reason
    assert [lab.saved(backup) for backup, _ in made] == [content for _, content in made]

    lab.delete(failed)
    first, _ = made.pop(0)
    lab.delete(first)
    report = lab.repositories.collect(lambda _: None)
    assert report.freed_bytes >= DISK_SIZE
    made.append((backed_up(lab, tmp_path, 4), lab.content()))
    assert [lab.saved(backup) for backup, _ in made] == [content for _, content in made]


def test_a_file_system_without_a_free_byte_can_be_emptied(
    lab: ServiceLab, tmp_path: Path, small_disk: Path
) -> None:
    first = backed_up(lab, tmp_path, 1)
    second, content = backed_up(lab, tmp_path, 2), lab.content()
    descriptor = os.open(small_disk / "filler", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while os.write(descriptor, bytes(65536)) == 65536:
            pass
    except OSError:
        pass
    finally:
        os.close(descriptor)

    lab.delete(first)
    report = lab.repositories.collect(lambda _: None)

    assert report.freed_bytes >= DISK_SIZE
    assert lab.saved(second) == content

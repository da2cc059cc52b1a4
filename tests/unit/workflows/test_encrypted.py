"""Backups and restores with an encrypted repository: as ever, and nothing can be read without."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from csbs.domain.backup import BackupState, Mode
from csbs.domain.clock import random_bytes
from csbs.repository import Encryption, KeyFiles, Rotation
from csbs.repository.errors import KeyMissing
from tests.unit.workflows.service_lab import ServiceLab

#: What no disk has by chance.
MARK = b"MARKED-BYTES-OF-THE-GUEST\n"


@pytest.fixture
def files(tmp_path: Path) -> KeyFiles:
    return KeyFiles(tmp_path / "keys" / "region.key", folder=tmp_path, random_bytes=random_bytes)


@pytest.fixture(params=["plain", "encrypted"])
def lab(tmp_path: Path, files: KeyFiles, request: pytest.FixtureRequest) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path)
    encryption = Encryption(wanted=request.param == "encrypted", files=files)
    made.open_repository = partial(made.open_repository, encryption=encryption)
    yield made
    made.close()


def _mark(lab: ServiceLab, folder: Path, offset: int) -> None:
    marks = folder / "marks"
    marks.write_bytes(MARK * 5000)
    command = f"write -q -s {marks} {offset} 100000"
    path = lab.server.path("vda")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, path], check=True, timeout=60)


def _found(folder: Path, words: bytes) -> bool:
    return any(words in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_no_byte_of_a_marked_disk_and_no_name_is_found_in_the_store(
    lab: ServiceLab, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    plain = "plain" in request.node.name
    _mark(lab, tmp_path, 65536)
    full = lab.back_up()
    _mark(lab, tmp_path, 65536 * 9 + 512)
    second = lab.back_up()

    assert [disk.mode for disk in second.disks] == [Mode.INCREMENTAL, Mode.INCREMENTAL]
    assert lab.saved(second) == lab.content()
    assert MARK in lab.saved(full)["vda"]
    words = [MARK, b'"web"', str(lab.server.path("vda")).encode(), full.name.encode()]
    assert [_found(tmp_path / "store", each) for each in words] == [plain] * len(words)


def test_disks_come_back_over_rotations(lab: ServiceLab, request: pytest.FixtureRequest) -> None:
    lab.write(1)
    backup, content = lab.back_up(), lab.content()
    if "encrypted" in request.node.name:
        for what in Rotation:
            lab.open_repository().rotate_key(what)
    lab.write(2)
    lab.back_up()
    lab.restore(backup)

    assert lab.content() == content


@pytest.mark.parametrize("lab", ["encrypted"], indirect=True)
def test_without_the_key_a_backup_fails_and_nothing_is_changed(
    lab: ServiceLab, files: KeyFiles, tmp_path: Path
) -> None:
    lab.write(1)
    backup = lab.back_up()
    kept = files.region_file.read_bytes()
    files.region_file.unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    lab.write(2)

    with pytest.raises(KeyMissing, match="put the file back"):
        lab.back_up()
    after = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    assert after == before
    assert [each.state for each in lab.listed()] == [BackupState.AVAILABLE]
    files.region_file.write_bytes(kept)
    files.region_file.chmod(0o600)
    second = lab.back_up()
    assert [disk.mode for disk in second.disks] == [Mode.INCREMENTAL, Mode.INCREMENTAL]
    assert lab.saved(second) == lab.content()
    assert lab.saved(backup)["vda"][65536 : 65536 + 10] == bytes([1]) * 10

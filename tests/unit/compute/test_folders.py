"""Folders that QEMU must be able to enter."""

from __future__ import annotations

from pathlib import Path

import pytest

from csbs.compute.libvirt.folders import HostFolders, QemuUser, closed_to
from csbs.domain.ids import ServerId

#: Nobody's ids: neither owner nor group of what tests make.
QEMU = QemuUser(54321, 54322)


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o711, True), (0o755, True), (0o700, False), (0o770, False)]
)
def test_the_mode_for_others_counts_for_qemu(tmp_path: Path, mode: int, *, expected: bool) -> None:
    tmp_path.chmod(mode)

    assert QEMU.can_enter(tmp_path) is expected


def test_root_enters_everything(tmp_path: Path) -> None:
    tmp_path.chmod(0o000)

    assert QemuUser(0, 0).can_enter(tmp_path)


@pytest.mark.parametrize(("mode", "expected"), [(0o700, True), (0o077, False)])
def test_the_mode_for_the_owner_counts_for_him(
    tmp_path: Path, mode: int, *, expected: bool
) -> None:
    tmp_path.chmod(mode)
    qemu = QemuUser(tmp_path.stat().st_uid or 1, 1)
    owned = qemu.uid == tmp_path.stat().st_uid

    assert qemu.can_enter(tmp_path) is (expected if owned else bool(mode & 1))


def test_the_uppermost_closed_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    found = closed_to(QEMU, closed / "not yet there")

    # The folders of pytest itself may be closed as well.
    assert found is not None
    assert closed.is_relative_to(found)


def test_leftovers_of_a_server_that_never_had_a_folder_are_none(tmp_path: Path) -> None:
    folders = HostFolders(run=tmp_path / "run", scratch=tmp_path / "scratch")

    assert list(folders.leftovers(ServerId("s"))) == []

"""Nobody writes to an image that is read for a backup, raw ones included."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from csbs.blockio.image_lock import nobody_else_writes, nobody_writes
from csbs.blockio.qemu_img import create_image
from csbs.blockio.qemu_nbd import NbdImage, start_qemu_nbd
from csbs.domain.errors import ToolFailed
from csbs.testing.libvirt_domains import export_io

pytestmark = pytest.mark.host


@pytest.fixture(params=["raw", "qcow2"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> NbdImage:
    path = tmp_path / "disk"
    create_image(path, image_format=request.param, size_bytes=1024**2)
    return NbdImage(path=str(path), format=request.param, export="vda", read_only=False)


def write(image: NbdImage) -> int:
    command = ["qemu-io", "-f", image.format, "-c", "write 0 64k", image.path]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode


def test_qemu_cannot_write_meanwhile_and_can_afterwards(image: NbdImage) -> None:
    with nobody_writes(Path(image.path)), nobody_writes(Path(image.path)):
        assert write(image) != 0
    assert write(image) == 0


def test_an_image_that_is_written_to_is_refused(image: NbdImage, tmp_path: Path) -> None:
    with (
        start_qemu_nbd(image, socket=tmp_path / "nbd.sock", pid_file=None),
        pytest.raises(ToolFailed, match="open for writing"),
        nobody_writes(Path(image.path)),
    ):
        pytest.fail("it was not refused")


def test_a_writer_goes_on_and_another_one_is_refused(image: NbdImage, tmp_path: Path) -> None:
    with start_qemu_nbd(image, socket=tmp_path / "nbd.sock", pid_file=None) as nbd:
        with nobody_else_writes(Path(image.path)):
            export_io(nbd.uri, "write -P 7 0 64k", "flush")
            assert write(image) != 0
        export_io(nbd.uri, "write -P 8 64k 64k", "flush")
    assert write(image) == 0


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="nowhere"), nobody_writes(tmp_path / "nowhere"):
        pytest.fail("it was not refused")

"""A backup is exported as image files that are whole, or not there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.blockio.qemu_img import create_image, image_info
from csbs.blockio.qemu_nbd import NbdImage, start_qemu_nbd
from csbs.documents.host import ExportDocument
from csbs.domain.backup import Backup
from csbs.domain.errors import BackupDamaged, BackupNotFound, CsbsError, OperationCancelled
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import FileLock
from csbs.services.exports import (
    DiskNotInBackup,
    ExportBusy,
    ExportDone,
    ExportExists,
    ExportRequest,
    ExportService,
    ImageFormat,
    UnknownFormat,
    image_format_of,
)
from csbs.services.requests import CreateBackup
from tests.unit.workflows.service_lab import MIB, ServiceLab

FORMATS = list(ImageFormat)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path / "a")
    made.server.start()
    made.write(1)
    yield made
    made.close()


@pytest.fixture
def exports(lab: ServiceLab) -> ExportService:
    return ExportService(
        driver=lab.driver,
        backups=lab.backups,
        repositories=lab.repositories,
        writing=lab.restores.writing,
        limit_bytes_per_s=None,
    )


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "new" / "out"


def request(
    backup: Backup,
    output: Path,
    image_format: ImageFormat = ImageFormat.QCOW2,
    disk: str | None = None,
) -> ExportRequest:
    return ExportRequest(backup=backup.id, output=output, format=image_format, disk=disk)


def content(path: Path, image_format: str) -> bytes:
    """All bytes of an image."""
    raw = path.with_suffix(".content")
    subprocess.run(
        ["qemu-img", "convert", "-f", image_format, "-O", "raw", path, raw], check=True, timeout=60
    )
    data = raw.read_bytes()
    raw.unlink()
    return data


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def exported(done: ExportDone) -> dict[str, bytes]:
    return {each.disk.target: content(each.path, done.format) for each in done.disks}


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_files_have_the_bytes_of_the_backup(
    lab: ServiceLab, exports: ExportService, output: Path, image_format: ImageFormat
) -> None:
    first, expected = lab.back_up(), lab.content()
    lab.write(5)
    lab.back_up()
    done = exports.export(request(first, output, image_format), lab.watcher)

    assert exported(done) == expected
    assert names(output) == [
        f"web-vda.{image_format}",
        f"web-vdb.{image_format}",
        "web.txt",
        "web.xml",
    ]
    assert [
        image_info(each.path, image_format=image_format).virtual_size_bytes for each in done.disks
    ] == [
        4 * MIB,
        2 * MIB,
    ]
    assert all(each.path.stat().st_blocks * 512 < MIB for each in done.disks)  # sparse
    assert {path.stat().st_mode & 0o777 for path in output.iterdir()} == {0o600}


def test_beside_them_lie_a_definition_and_a_note(
    lab: ServiceLab, exports: ExportService, output: Path
) -> None:
    backup = lab.back_up()
    done = exports.export(request(backup, output), lab.watcher)

    assert done.definition == output / "web.xml"
    assert str(output / "web-vda.qcow2") in done.definition.read_text()
    note = done.note.read_text()
    assert backup.id in note
    assert f"virsh define {output / 'web.xml'}" in note
    document = ExportDocument.of(done).json_value()
    assert document["disks"][0]["file"] == str(output / "web-vda.qcow2")
    assert document["disks"][0]["written_bytes"] == 131072


def test_one_disk_alone_has_no_definition(
    lab: ServiceLab, exports: ExportService, output: Path
) -> None:
    backup = lab.back_up()
    done = exports.export(request(backup, output, ImageFormat.RAW, "vdb"), lab.watcher)
    by_id = exports.export(
        request(backup, output / "2", ImageFormat.RAW, backup.disks[1].disk_id), lab.watcher
    )

    assert names(output) == ["2", "web-vdb.raw", "web.txt"]
    assert done.definition is None
    assert exported(done) == exported(by_id) == {"vdb": lab.server.content("vdb")}


@pytest.mark.parametrize("name", ["web-vda.qcow2", "web-vdb.qcow2", "web.xml", "web.txt"])
def test_files_that_are_there_are_left_alone(
    lab: ServiceLab, exports: ExportService, output: Path, name: str
) -> None:
    backup = lab.back_up()
    output.mkdir(parents=True)
    (output / name).write_text("mine")

    with pytest.raises(ExportExists, match=name):
        exports.export(request(backup, output), lab.watcher)
    assert names(output) == [name]
    assert (output / name).read_text() == "mine"


def test_a_failure_leaves_nothing(lab: ServiceLab, exports: ExportService, output: Path) -> None:
    """The second disk cannot be read when the first is written."""
    backup = lab.back_up()
    manifest = lab.open_repository().manifest(backup.manifest_key)
    root = manifest.images[1].root
    assert root is not None
    nodes = lab.store_folder / "packs" / root.pack_id.hex()[:2] / root.pack_id.hex()
    first_root = manifest.images[0].root
    assert first_root is not None
    assert first_root.pack_id == root.pack_id
    data = nodes.read_bytes()
    footer = lab.open_repository()._packs.footer(root.pack_id)
    position = footer.position(root.slot)
    assert position is not None
    at = int(footer.offsets[position]) + 3
    nodes.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])

    with pytest.raises(CsbsError):
        exports.export(request(backup, output), lab.watcher)
    assert names(output) == []


def damaged_block(lab: ServiceLab, backup: Backup) -> int:
    """Flips a bit of the first stored block of vda, and returns its number."""
    image = lab.open_repository().manifest(backup.manifest_key).images[0]
    fetch = next(lab.open_repository().reader(image).fetches())
    path = lab.store_folder / "packs" / fetch.pack_id.hex()[:2] / fetch.pack_id.hex()
    data = bytearray(path.read_bytes())
    data[fetch.offset_bytes + 5] ^= 1
    path.write_bytes(data)
    block, slot = min(fetch.blocks, key=lambda each: each[1])
    assert slot == 0
    return block


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_damaged_backup_is_refused_or_has_holes_that_are_listed(
    lab: ServiceLab, exports: ExportService, output: Path, image_format: ImageFormat
) -> None:
    backup, expected = lab.back_up(), lab.content()
    offset_bytes = damaged_block(lab, backup) * BLOCK_SIZE
    wanted = request(backup, output, image_format)

    with pytest.raises(
        BackupDamaged, match=rf"disk vda of server web lacks bytes from {offset_bytes}"
    ):
        exports.export(wanted, lab.watcher)
    assert names(output) == []
    done = exports.export(replace(wanted, allow_holes=True), lab.watcher)

    assert [len(each.holes) for each in done.disks] == [1, 1]  # both have that block
    assert done.disks[0].holes[0] == (offset_bytes, BLOCK_SIZE)
    for each in done.disks:
        data = bytearray(expected[each.disk.target])
        for at, size_bytes in each.holes:
            data[at : at + size_bytes] = bytes(size_bytes)
        assert exported(done)[each.disk.target] == bytes(data)
        assert data != expected[each.disk.target]
    assert f"offset {offset_bytes}, length {BLOCK_SIZE}" in done.note.read_text()
    holes = [{"offset_bytes": offset_bytes, "size_bytes": BLOCK_SIZE}]
    assert ExportDocument.of(done).json_value()["disks"][0]["holes"] == holes


def test_a_cancel_leaves_nothing(lab: ServiceLab, exports: ExportService, output: Path) -> None:
    backup = lab.back_up()
    lab.cancel.set()

    with pytest.raises(OperationCancelled):
        exports.export(request(backup, output), lab.watcher)
    assert names(output) == []


def test_what_a_killed_export_left_is_removed(
    lab: ServiceLab, exports: ExportService, output: Path
) -> None:
    backup = lab.back_up()
    output.mkdir(parents=True)
    partial = output / "web-vda.qcow2.partial"
    create_image(partial, image_format="qcow2", size_bytes=MIB)
    left = start_qemu_nbd(
        NbdImage(path=str(partial), format="qcow2", export="disk", read_only=False),
        socket=output.parent / "left.sock",
        pid_file=output / "web-vda.qcow2.partial.pid",
    )
    with left:
        done = exports.export(request(backup, output), lab.watcher)
        assert not left.is_running()

    assert exported(done) == lab.content()
    assert names(output) == ["web-vda.qcow2", "web-vdb.qcow2", "web.txt", "web.xml"]


def test_two_at_once_into_one_folder_are_refused(
    lab: ServiceLab, exports: ExportService, output: Path
) -> None:
    backup = lab.back_up()
    output.mkdir(parents=True)
    lock = FileLock(output / ".web.lock", lambda doing: ExportBusy("never", doing))

    with lock.exclusive("another export"), pytest.raises(ExportBusy, match="another export"):
        exports.export(request(backup, output), lab.watcher)


def test_what_is_not_there_is_said(lab: ServiceLab, exports: ExportService, output: Path) -> None:
    backup = lab.back_up()

    with pytest.raises(DiskNotInBackup, match="it has vda, vdb"):
        exports.export(request(backup, output, disk="vdx"), lab.watcher)
    with pytest.raises(BackupNotFound):
        exports.export(
            ExportRequest(backup="none", output=output, format=ImageFormat.RAW), lab.watcher
        )
    with pytest.raises(UnknownFormat, match="vmdk"):
        image_format_of("vmdk")
    assert not output.exists()


def test_an_empty_disk_is_an_empty_file(
    lab: ServiceLab, exports: ExportService, output: Path
) -> None:
    empty = lab.driver.add_server("empty", {"vda": 0})
    backup = lab.backups.create(CreateBackup(server=empty.id), lab.watcher)
    done = exports.export(request(backup, output, ImageFormat.RAW), lab.watcher)

    assert done.disks[0].path.stat().st_size == 0

"""qemu-img and qemu-nbd, the real ones."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.blockio.processes import ProcessRecord, end_process, run_tool
from csbs.blockio.qemu_img import add_bitmap, create_image, image_info, remove_bitmap
from csbs.blockio.qemu_nbd import NbdImage, nbd_uri, passes_cache, start_qemu_nbd
from csbs.domain.errors import ToolFailed

MIB = 1024 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: those of sockets may have 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def image(folder: Path) -> Path:
    path = folder / "a disk.qcow2"
    create_image(path, image_format="qcow2", size_bytes=MIB)
    return path


def _served(image: Path, *, read_only: bool = True, bitmap: str | None = None) -> NbdImage:
    return NbdImage(
        path=str(image), format="qcow2", export="vda", read_only=read_only, bitmap=bitmap
    )


def test_an_image_says_size_and_bitmaps(image: Path) -> None:
    add_bitmap(image, "csbs-1")
    info = image_info(image, image_format="qcow2")
    bitmap = info.bitmap("csbs-1")
    assert bitmap is not None
    assert (info.virtual_size_bytes, info.takes_bitmaps) == (MIB, True)
    assert (bitmap.recording, bitmap.in_use, bitmap.granularity_bytes) == (True, False, 65536)

    remove_bitmap(image, "csbs-1")

    assert image_info(image, image_format="qcow2").bitmaps == ()


def test_a_raw_disk_that_begins_like_qcow2_is_taken_as_raw(folder: Path, image: Path) -> None:
    size_bytes = -(-image.stat().st_size // 512) * 512  # QEMU counts whole sectors

    info = image_info(image, image_format="raw")

    assert (info.format, info.virtual_size_bytes, info.takes_bitmaps) == ("raw", size_bytes, False)


def test_old_images_take_no_bitmaps(folder: Path) -> None:
    path = folder / "old.qcow2"
    run_tool(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", str(path), "1M"],
        doing="making",
        timeout_s=10,
    )

    assert not image_info(path, image_format="qcow2").takes_bitmaps


def test_errors_name_the_file(folder: Path, image: Path) -> None:
    with pytest.raises(ToolFailed, match=r"missing\.qcow2"):
        image_info(folder / "missing.qcow2", image_format="qcow2")
    with pytest.raises(ToolFailed, match=r"a disk\.qcow2: the file is there already"):
        create_image(image, image_format="qcow2", size_bytes=MIB)
    with pytest.raises(ToolFailed, match=r"a disk\.qcow2"):
        remove_bitmap(image, "never-was")


def test_a_served_image_answers_and_ends(folder: Path, image: Path) -> None:
    add_bitmap(image, "csbs-1")
    socket, record = folder / "a b.sock", folder / "a.pid"

    with start_qemu_nbd(_served(image, bitmap="csbs-1"), socket=socket, pid_file=record) as server:
        answer = run_tool(["nbdinfo", server.uri], doing="asking", timeout_s=10)
        process = ProcessRecord.read(record, program="qemu-nbd")
        assert process is not None
        assert (process.pid, process.is_alive()) == (server.pid, True)
    server.stop()

    assert "qemu:dirty-bitmap:csbs-1" in answer
    assert server.uri == nbd_uri(socket, "vda")
    assert not process.is_alive()
    assert sorted(each.name for each in folder.iterdir()) == ["a disk.qcow2"]


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        ("missing", "No such file"),
        ("damaged", "not in qcow2 format"),
        ("in use", "lock"),
        ("no bitmap", "csbs-1"),
        ("long path", "too long"),
        ("socket there", "in use"),
    ],
)
def test_an_image_that_cannot_be_served_says_why_and_leaves_nothing(
    folder: Path, image: Path, problem: str, why: str
) -> None:
    socket, record = folder / "a.sock", folder / "a.pid"
    wanted = _served(image, bitmap="csbs-1" if problem == "no bitmap" else None)
    if problem == "missing":
        image.unlink()
    if problem == "damaged":
        image.write_bytes(bytes(MIB))
    if problem == "long path":
        socket = folder / ("x" * 100)
    if problem == "socket there":
        socket.touch()
    before = sorted(folder.iterdir())

    if problem == "in use":
        held = start_qemu_nbd(
            _served(image, read_only=False), socket=folder / "b.sock", pid_file=None
        )
        with held, pytest.raises(ToolFailed, match=why):
            start_qemu_nbd(wanted, socket=socket, pid_file=record)
    else:
        with pytest.raises(ToolFailed, match=why) as raised:
            start_qemu_nbd(wanted, socket=socket, pid_file=record)
        assert str(image) in str(raised.value)

    assert sorted(folder.iterdir()) == before


def test_a_server_that_does_not_answer_is_given_up(folder: Path) -> None:
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    image = NbdImage(path=str(fifo), format="raw", export="vda", read_only=True)

    with pytest.raises(ToolFailed):
        start_qemu_nbd(image, socket=folder / "a.sock", pid_file=folder / "a.pid", timeout_s=0.2)

    assert list(folder.iterdir()) == [fifo]


@pytest.mark.parametrize(
    ("image_format", "size_bytes", "passes"),
    [("qcow2", MIB + 512, True), ("raw", MIB, True), ("raw", MIB + 512, False)],
)
def test_what_is_written_passes_by_the_page_cache_where_it_can(
    folder: Path, image_format: str, size_bytes: int, *, passes: bool
) -> None:
    """Of a raw file whose end is not aligned QEMU would write, and so add, more than was asked."""
    path = folder / "disk"
    create_image(path, image_format=image_format, size_bytes=size_bytes)
    image = NbdImage(path=str(path), format=image_format, export="vda", read_only=False)

    with start_qemu_nbd(image, socket=folder / "a.sock", pid_file=None) as server:
        assert opened_directly(server.pid, path) is passes

    assert passes_cache(image) is passes


def test_a_file_system_without_direct_writes_is_written_all_the_same(image: Path) -> None:
    assert not passes_cache(_served(Path("/proc/self/status"), read_only=False))
    assert passes_cache(_served(image, read_only=False))


def opened_directly(pid: int, path: Path) -> bool:
    """Whether the process has the file open for writing past the page cache."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        if each.readlink() == path:
            info = Path(f"/proc/{pid}/fdinfo/{each.name}").read_text(encoding="ascii")
            flags = next(int(line.split()[1], 8) for line in info.splitlines() if "flags" in line)
            if flags & os.O_RDWR:
                found.append(bool(flags & os.O_DIRECT))
    assert found, "it is open for writing"
    return all(found)


def test_a_server_that_was_killed_is_an_error_at_its_end(folder: Path, image: Path) -> None:
    server = start_qemu_nbd(_served(image), socket=folder / "a.sock", pid_file=None)
    os.kill(server.pid, signal.SIGKILL)

    with pytest.raises(ToolFailed, match=r"a disk\.qcow2"):
        server.stop()

    assert not server.is_running()
    server.stop()


def test_a_server_that_is_left_running_keeps_the_image_locked(folder: Path, image: Path) -> None:
    record = folder / "a.pid"
    server = start_qemu_nbd(
        _served(image, read_only=False), socket=folder / "a.sock", pid_file=record
    )
    server.leave_running()

    with pytest.raises(ToolFailed, match="lock"):
        add_bitmap(image, "csbs-1")

    process = ProcessRecord.read(record, program="qemu-nbd")
    assert process is not None
    assert end_process(process, timeout_s=10)
    add_bitmap(image, "csbs-1")

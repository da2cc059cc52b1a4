"""The NBD client against real servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from csbs.blockio.connections import open_connections
from csbs.blockio.nbd import BASE_ALLOCATION, ZERO_SIZE_MAX, NbdClient, NbdExport, NbdLimits
from csbs.blockio.qemu_nbd import NbdImage, start_qemu_nbd
from csbs.blockio.watch import Watch
from csbs.domain.clock import monotonic
from csbs.domain.errors import DiskUnreadable, OperationCancelled
from csbs.domain.extents import Allocation, Extent
from tests.integration.blockio.servers import BOUND_S, content, make_image, nbdkit, silent_server

KIB, MIB, GIB = 1024, 1024**2, 1024**3
SHORT = NbdLimits(answer_timeout_s=0.5)


@contextmanager
def client(
    uri: str,
    *contexts: str,
    limits: NbdLimits | None = None,
    cancel: threading.Event | None = None,
) -> Iterator[NbdClient]:
    cancelled = (cancel or threading.Event()).is_set
    export = NbdExport(uri=uri, disk="vda of server web1", contexts=contexts)
    with (
        Watch(cancelled=cancelled, monotonic=monotonic) as watch,
        NbdClient(export, watch, limits or NbdLimits()) as opened,
    ):
        yield opened


def joined(extents: Iterator[Extent]) -> list[Extent]:
    found: list[Extent] = []
    for each in extents:
        last = found[-1] if found else None
        if last and (last.allocation, last.dirty) == (each.allocation, each.dirty):
            found[-1] = Extent(last.start, each.end, each.allocation, each.dirty)
        else:
            found.append(each)
    return found


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
@pytest.mark.parametrize("size", [4 * MIB, 3 * MIB + 512, 60 * KIB + 512, 512])
def test_a_disk_is_read_as_it_is(tmp_path: Path, image_format: str, size: int) -> None:
    disk = tmp_path / "disk"
    make_image(disk, image_format, size, "write -P 7 0 512", f"write -P 8 {size - 512} 512")
    image = NbdImage(path=str(disk), format=image_format, export="vda", read_only=True)

    with (
        start_qemu_nbd(image, socket=tmp_path / "sock", pid_file=None) as server,
        client(server.uri) as opened,
    ):
        assert opened.size_bytes == size
        assert opened.is_read_only
        assert opened.read(0, size) == content(disk, image_format)


def test_extents_of_a_disk_that_takes_several_requests(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    make_image(
        disk, "qcow2", 6 * GIB, "write -P 7 64k 64k", "write -z 64k 4k", "write -P 7 5G 128k"
    )
    image = NbdImage(path=str(disk), format="qcow2", export="vda", read_only=True)

    with (
        start_qemu_nbd(image, socket=tmp_path / "sock", pid_file=None) as server,
        client(server.uri, BASE_ALLOCATION) as opened,
    ):
        found = joined(opened.extents(None))

    hole, data = Allocation.HOLE, Allocation.DATA
    assert found == [
        Extent(0, 64 * KIB, hole, dirty=True),
        Extent(64 * KIB, 128 * KIB, data, dirty=True),
        Extent(128 * KIB, 5 * GIB, hole, dirty=True),
        Extent(5 * GIB, 5 * GIB + 128 * KIB, data, dirty=True),
        Extent(5 * GIB + 128 * KIB, 6 * GIB, hole, dirty=True),
    ]


def test_a_hole_that_does_not_promise_zeroes_is_data(tmp_path: Path) -> None:
    extents = tmp_path / "extents"
    extents.write_text("0 1M hole\n1M 1M zero\n2M 1M hole,zero\n3M 1M\n")

    with (
        nbdkit(tmp_path, "--filter=extentlist", "memory", "4M", f"extentlist={extents}") as server,
        client(server.uri, BASE_ALLOCATION) as opened,
    ):
        found = [each.allocation for each in joined(opened.extents(None))]

    assert found == [Allocation.DATA, Allocation.ZERO, Allocation.HOLE, Allocation.DATA]


def test_a_server_with_sectors_of_4_kib(tmp_path: Path) -> None:
    strict = ("--filter=blocksize-policy", "blocksize-minimum=4k", "blocksize-error-policy=error")
    with (
        nbdkit(tmp_path, strict[0], "memory", "1044K", *strict[1:]) as server,
        client(server.uri, BASE_ALLOCATION) as opened,
    ):
        opened.write(1040 * KIB, b"x" * 4096)
        opened.zero(0, 64 * KIB)

        assert opened.read(1024 * KIB, 20 * KIB) == bytes(16 * KIB) + b"x" * 4096
        assert next(opened.extents(None)).start == 0
        with pytest.raises(DiskUnreadable, match="reading 512 bytes at offset 0"):
            opened.read(0, 512)


@pytest.mark.parametrize("context", [BASE_ALLOCATION, "qemu:dirty-bitmap:none"])
def test_a_context_that_is_not_offered_is_an_error(tmp_path: Path, context: str) -> None:
    with (
        nbdkit(tmp_path, "--no-sr", "memory", "1M") as server,
        pytest.raises(DiskUnreadable, match=f"vda of server web1.*does not offer {context}"),
        client(server.uri, context),
    ):
        pass


def test_an_error_names_disk_offset_and_cause(tmp_path: Path) -> None:
    with (
        nbdkit(tmp_path, "--filter=error", "memory", "1M", "error-pread-rate=100%") as server,
        client(server.uri) as opened,
        pytest.raises(
            DiskUnreadable,
            match=r"vda of server web1: reading 512 bytes at offset 4096 failed.*output error",
        ),
    ):
        opened.read(4096, 512)


def test_a_read_behind_the_end_is_an_error(tmp_path: Path) -> None:
    with (
        nbdkit(tmp_path, "memory", "1M") as server,
        client(server.uri) as opened,
        pytest.raises(DiskUnreadable, match="reading 1024 bytes"),
    ):
        opened.read(1024**2 - 512, 1024)


def test_writes_to_a_read_only_disk_are_refused(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "-r", "memory", "1M") as server, client(server.uri) as opened:
        with pytest.raises(DiskUnreadable, match="writing 3 bytes at offset 0"):
            opened.write(0, b"abc")
        with pytest.raises(DiskUnreadable, match="zeroing"):
            opened.zero(0, 512)


def test_a_zero_request_is_bounded(tmp_path: Path) -> None:
    with (
        nbdkit(tmp_path, "memory", "1G") as server,
        client(server.uri) as opened,
        pytest.raises(AssertionError),
    ):
        opened.zero(0, ZERO_SIZE_MAX + 1)


@pytest.mark.parametrize(
    "uri", ["nbd+unix:///vda?socket=/nowhere/x.sock", "no uri", "nbd://127.0.0.1:1/"]
)
def test_a_server_that_is_not_there(uri: str) -> None:
    with (
        pytest.raises(DiskUnreadable, match="vda of server web1: connecting to its NBD server"),
        client(uri),
    ):
        pass


def test_a_server_that_dies_is_an_error_at_once(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "memory", "1M") as server, client(server.uri) as opened:
        assert opened.read(0, 512) == bytes(512)
        server.kill()
        with pytest.raises(DiskUnreadable, match="reading 512 bytes at offset 0"):
            opened.read(0, 512)


def test_a_server_that_does_not_answer_is_an_error_after_the_limit(tmp_path: Path) -> None:
    with (
        nbdkit(tmp_path, "--filter=delay", "memory", "1M", "delay-read=60") as server,
        client(server.uri, limits=SHORT) as opened,
        pytest.raises(DiskUnreadable, match=r"did not answer within 0\.5 s"),
    ):
        opened.read(0, 512)


def test_a_flush_has_a_limit_of_its_own(tmp_path: Path) -> None:
    limits = NbdLimits(answer_timeout_s=0.2, flush_timeout_s=BOUND_S)
    slow = (
        "get_size=echo 1048576",
        "pread=dd if=/dev/zero count=$3 iflag=count_bytes",
        "pwrite=cat >/dev/null",
        "can_write=exit 0",
        "can_flush=exit 0",
        "flush=sleep 1",
    )
    with nbdkit(tmp_path, "eval", *slow) as server, client(server.uri, limits=limits) as opened:
        opened.flush()


def test_a_cancel_ends_a_call_that_hangs(tmp_path: Path) -> None:
    cancel = threading.Event()
    with (
        nbdkit(tmp_path, "--filter=delay", "memory", "1M", "delay-read=60") as server,
        client(server.uri, cancel=cancel) as opened,
    ):
        threading.Timer(0.05, cancel.set).start()
        begun = monotonic()
        with pytest.raises(OperationCancelled, match="vda of server web1"):
            opened.read(0, 512)
        assert monotonic() - begun < 1.0
        with pytest.raises(OperationCancelled):
            opened.read(0, 512)


def test_a_silent_server_is_an_error_after_the_limit(tmp_path: Path) -> None:
    with (
        silent_server(tmp_path) as uri,
        pytest.raises(DiskUnreadable, match=r"connecting.*did not answer within 0\.5 s"),
        client(uri, limits=SHORT),
    ):
        pass


def test_connecting_can_be_cancelled(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with (
        silent_server(tmp_path) as uri,
        pytest.raises(OperationCancelled),
        client(uri, cancel=cancel),
    ):
        pass


def test_connections_are_lent_to_one_thread_at_a_time(tmp_path: Path) -> None:
    export = NbdExport(uri="", disk="vda")
    with (
        nbdkit(tmp_path, "memory", "1M") as server,
        Watch(cancelled=lambda: False, monotonic=monotonic) as watch,
        open_connections(
            NbdExport(uri=server.uri, disk=export.disk), 1, watch, NbdLimits()
        ) as connections,
    ):
        got: list[NbdClient] = []

        def take() -> None:
            with connections.one() as other:
                got.append(other)

        with connections.one() as first:
            waiting = threading.Thread(target=take)
            waiting.start()
            assert not got
        waiting.join(BOUND_S)
        assert got == [first]

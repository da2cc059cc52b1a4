"""What is not csbs and not a peer: the bounds that the disk's server and zstd set."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.arithmetic import Sample
from benchmarks.running import cpu_of, run_measured
from benchmarks.settings import DISK_SIZE_BYTES
from benchmarks.source import Source
from csbs.blockio.nbd import BASE_ALLOCATION, NbdClient, NbdExport, NbdLimits
from csbs.blockio.processes import run_tool
from csbs.blockio.qemu_nbd import NbdImage, QemuNbd, start_qemu_nbd
from csbs.blockio.watch import Watch
from csbs.domain.clock import monotonic
from csbs.domain.extents import BLOCK_SIZE, Allocation

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Runs in `folder`, over the source's qcow2 image served by qemu-nbd."""

    source: Source
    folder: Path

    def zstd(self) -> Sample:
        """Reads all that is allocated, into `zstd -1 -T2`, into a synced file."""
        with self._served(self.source.qcow2, read_only=True) as server:
            program = [sys.executable, "-m", "benchmarks.plain_reader", server.uri]
            done = run_measured([*program, str(self._compressed)], durable=self.folder)
        return replace(done.sample, stored_bytes=self._compressed.stat().st_size)

    def zstd_decompress(self) -> Sample:
        """Decompresses the file of `zstd` to nothing."""
        command = ["zstd", "-d", "-q", "-f", "-o", "/dev/null", str(self._compressed)]
        return run_measured(command, durable=self.folder).sample

    def read(self) -> Sample:
        """`nbdcopy` to `null:`."""
        with self._served(self.source.qcow2, read_only=True) as server:
            return run_measured(["nbdcopy", server.uri, "null:"], durable=self.folder).sample

    def nbdcopy_write(self) -> Sample:
        """`nbdcopy` of the raw image into a new qcow2 image, flushed; with qemu-nbd's time."""
        target = self.folder / "nbdcopy.qcow2"
        make_target(target)
        with self._served(target, read_only=False) as server:
            command = ["nbdcopy", "--flush", str(self.source.raw), server.uri]
            sample = run_measured(command, durable=self.folder).sample
            server_s = cpu_of(server.pid)
        target.unlink()
        return replace(sample, cpu_seconds=sample.cpu_seconds + server_s)

    @property
    def _compressed(self) -> Path:
        return self.folder / "source.zst"

    @contextmanager
    def _served(self, image: Path, *, read_only: bool) -> Iterator[QemuNbd]:
        with served(image, self.folder / "bounds.sock", read_only=read_only) as server:
            yield server


def make_target(image: Path) -> None:
    """An empty image of the source's size."""
    create = ["qemu-img", "create", "-q", "-f", "qcow2", str(image), str(DISK_SIZE_BYTES)]
    run_tool(create, doing="making a target", timeout_s=_TIMEOUT_S)


@contextmanager
def served(image: Path, socket: Path, *, read_only: bool) -> Iterator[QemuNbd]:
    """A qcow2 image, served as csbs has it served."""
    wanted = NbdImage(path=str(image), format="qcow2", export="disk", read_only=read_only)
    pid_file = socket.with_suffix(".pid")
    with start_qemu_nbd(wanted, socket=socket, pid_file=pid_file) as server:
        yield server


def change(image: Path, socket: Path, *, share: float, seed: int) -> int:
    """Moves this share of the blocks with data to other places, as a stopped server's disk.

    Each chosen block gets the bytes of another, XORed so that nothing has been seen before.
    Returns how many blocks were written.
    """
    chance = random.Random(seed)
    with (
        served(image, socket, read_only=False) as server,
        Watch(cancelled=lambda: False, monotonic=monotonic) as watch,
        NbdClient(
            NbdExport(uri=server.uri, disk="source", contexts=(BASE_ALLOCATION,)),
            watch,
            NbdLimits(),
        ) as client,
    ):
        blocks = [
            block
            for extent in client.extents(None)
            if extent.allocation is Allocation.DATA
            for block in range(-(-extent.start // BLOCK_SIZE), extent.end // BLOCK_SIZE)
        ]
        chosen = chance.sample(blocks, int(len(blocks) * share))
        for block in chosen:
            data = client.read(chance.choice(blocks) * BLOCK_SIZE, BLOCK_SIZE)
            client.write(block * BLOCK_SIZE, xored(data, chance.randrange(1, 256)))
        client.flush()
    return len(chosen)


def xored(data: bytes | bytearray, value: int) -> bytes:
    """Other bytes that compress as well."""
    return bytes(data).translate(bytes(each ^ value for each in range(256)))

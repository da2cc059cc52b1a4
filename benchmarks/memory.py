"""Memory where it could be most: a server with many disks, and one very large disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.arithmetic import Sample
from benchmarks.engine import data_blocks
from benchmarks.leftovers import bench_server
from benchmarks.nbd_lanes import served
from benchmarks.product import Product
from benchmarks.running import sync
from benchmarks.source import Source, compare
from csbs.blockio.nbd import NbdClient, NbdExport, NbdLimits
from csbs.blockio.watch import Watch
from csbs.domain.clock import monotonic
from csbs.domain.extents import BLOCK_SIZE
from csbs.testing.libvirt_domains import DomainDisk, DomainServer

Keep = Callable[[str, Sample], None]

_MANY = 8
_MANY_SIZE_BYTES = 1024**3
#: On each of the many disks; and on the large one, evenly spread over all of it.
_MANY_BLOCKS = 2048
_HUGE_SIZE_BYTES = 16 * 1024**4
_HUGE_BLOCKS = 8192


def measure_memory(source: Source, folder: Path, *, keep: Keep) -> None:
    """One backup of each kind; times are of no interest."""
    _many_disks(source, folder, keep)
    _huge_disk(source, folder, keep)


def _many_disks(source: Source, folder: Path, keep: Keep) -> None:
    targets = [f"vd{chr(ord('a') + number)}" for number in range(_MANY)]
    disks = [DomainDisk(target=target, size_bytes=_MANY_SIZE_BYTES) for target in targets]
    product = Product(folder=folder / "memory")
    with bench_server(disks) as server:
        for number, target in enumerate(targets):
            places = ((block, number * _MANY_BLOCKS + block) for block in range(_MANY_BLOCKS))
            _fill(source.raw, server, target, places)
        made = {target: server.path(target).with_suffix(".aside") for target in targets}
        _, sample = product.back_up(server.name, mode="full")
        keep("many_disks_full", sample)
        product.untrack(server.name)
        backup_id, sample = product.back_up(server.name, mode="rescan")
        keep("many_disks_rescan", sample)
        for target, aside in made.items():
            server.path(target).rename(aside)
        keep("many_disks_restore", product.restore(backup_id))
        for target, aside in made.items():
            compare(aside, server.path(target), one_format="qcow2", other_format="qcow2")
        product.untrack(server.name)
    product.remove()


def _huge_disk(source: Source, folder: Path, keep: Keep) -> None:
    disk = DomainDisk(target="vda", size_bytes=_HUGE_SIZE_BYTES)
    product = Product(folder=folder / "memory")
    with bench_server([disk]) as server:
        step = _HUGE_SIZE_BYTES // BLOCK_SIZE // _HUGE_BLOCKS
        places = ((number * step, number) for number in range(_HUGE_BLOCKS))
        _fill(source.raw, server, "vda", places)
        keep("huge_disk_full", product.back_up(server.name, mode="full")[1])
        keep("huge_disk_increment", product.back_up(server.name, mode="incremental")[1])
        product.untrack(server.name)
        keep("huge_disk_rescan", product.back_up(server.name, mode="rescan")[1])
        product.untrack(server.name)
    product.remove()


def _fill(raw: Path, server: DomainServer, target: str, places: Iterator[tuple[int, int]]) -> None:
    """Writes (block of the disk, number of a block with data of the source); they come again."""
    socket = server.folder / "fill.sock"
    with (
        raw.open("rb") as file,
        served(server.path(target), socket, read_only=False) as nbd,
        Watch(cancelled=lambda: False, monotonic=monotonic) as watch,
        NbdClient(NbdExport(uri=nbd.uri, disk=target), watch, NbdLimits()) as client,
    ):
        blocks = data_blocks(file.fileno())
        for block, number in places:
            at = blocks[number % len(blocks)] * BLOCK_SIZE
            client.write(block * BLOCK_SIZE, os.pread(file.fileno(), BLOCK_SIZE, at))
        client.flush()
    sync(server.folder)

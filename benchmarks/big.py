"""A running server with a disk of 1 TiB of which nothing changes, through libvirt."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.arithmetic import Sample
from benchmarks.leftovers import bench_server
from benchmarks.product import Product
from benchmarks.source import Source
from csbs.blockio.processes import run_tool
from csbs.testing.libvirt_domains import DomainDisk

_SIZE_BYTES = 1024**4
_TARGET = "vda"
_TIMEOUT_S = 60.0


def measure_big(
    source: Source, folder: Path, *, rounds: int, keep: Callable[[str, Sample], None]
) -> None:
    """Increments of nothing: audit, allocation check and libvirt's calls are all there is."""
    disk = DomainDisk(target=_TARGET, size_bytes=_SIZE_BYTES)
    product = Product(folder=folder / "big")
    with bench_server([disk]) as server:
        image = server.path(_TARGET)
        shutil.copyfile(source.qcow2, image)
        resize = ["qemu-img", "resize", "-q", "-f", "qcow2", str(image), str(_SIZE_BYTES)]
        run_tool(resize, doing="growing a disk", timeout_s=_TIMEOUT_S)
        server.start()
        server.pause()
        product.back_up(server.name, mode="full")
        for _ in range(rounds):
            _, sample = product.back_up(server.name, mode="incremental")
            keep("nochange_live", sample)
        product.untrack(server.name)
    product.remove()

"""The engine alone, on an aged map: increments from a given list of dirty blocks.

No command is started and no libvirt asked.  Blocks are read from the source's raw image, encoded
by the threads that the agent has, and put into a synced folder.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import zstandard

from benchmarks.aged import DISK_BLOCKS, IMAGE, Aged
from benchmarks.arithmetic import Sample
from benchmarks.running import sync
from csbs.agent.backup_disk import CopyOptions
from csbs.blockio.pipeline import map_bounded
from csbs.domain.clock import monotonic, new_id, utc_now
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import BlockEncoder, ContentIndex, EncodedBlock

#: 64 MiB in whole blocks, and in pages of 4 KiB that each dirty a block.
BLOCKS = 1024
PAGES = 16_384
_WRITTEN_BYTES = 64 * 1024**2
_BLOCKS_PER_CALL = 32

Keep = Callable[[str, Sample], None]
#: Where a block goes, and where its bytes are in the source.
Place = tuple[int, int]


def run_engine(aged: Aged, raw: Path, *, seed: int, keep: Keep) -> None:
    """One round of the engine's lanes; each starts from the same aged image."""
    chance = random.Random(seed)
    with raw.open("rb") as file:
        source = data_blocks(file.fileno())
        for lane, count in (("increment", BLOCKS), ("increment_4k", PAGES), ("nochange", 0)):
            to = sorted(chance.sample(range(DISK_BLOCKS), count))
            places = list(zip(to, chance.sample(source, min(count, len(source))), strict=False))
            keep(lane, _Increment(aged, file.fileno(), places).run())
            if lane == "increment":
                keep("increment_zstd", Sample(stored_bytes=_zstd(file.fileno(), places)))
            if lane == "increment_4k":
                keep("increment_4k_written", Sample(stored_bytes=_WRITTEN_BYTES))


def data_blocks(descriptor: int) -> list[int]:
    """Numbers of the blocks of a sparse file that are wholly data."""
    found: list[int] = []
    end, size_bytes = 0, os.fstat(descriptor).st_size
    while end < size_bytes:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError:  # only a hole follows
            break
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        found.extend(range(-(-start // BLOCK_SIZE), end // BLOCK_SIZE))
    return found


def _zstd(descriptor: int, places: Sequence[Place]) -> int:
    """What `zstd -1` makes of the changed blocks, one after another."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    size_bytes = 0
    for _, at in places:
        size_bytes += len(compressor.compress(os.pread(descriptor, BLOCK_SIZE, at * BLOCK_SIZE)))
    return size_bytes + len(compressor.flush())


@dataclass(frozen=True, slots=True)
class _Increment:
    """One increment on the aged image."""

    aged: Aged
    descriptor: int
    places: list[Place]

    def run(self) -> Sample:
        """Its time, and all that it put into the store."""
        index_path = self.aged.folder / f"index-{new_id()}.sqlite"
        index = ContentIndex(index_path)  # nothing of a former increment is known
        sync(self.aged.folder)
        before_bytes, began = self.aged.store.put_bytes, monotonic()
        began_cpu = os.times()
        self._write(index)
        took_s, cpu = monotonic() - began, os.times()
        index.close()
        for path in index_path.parent.glob(f"{index_path.name}*"):
            path.unlink()
        return Sample(
            seconds=took_s,
            cpu_seconds=(cpu.user + cpu.system) - (began_cpu.user + began_cpu.system),
            stored_bytes=self.aged.store.put_bytes - before_bytes,
        )

    def _write(self, index: ContentIndex) -> None:
        options = CopyOptions()
        writer = self.aged.repository.begin(new_id(), started_at=utc_now(), index=index)
        image = writer.image(IMAGE, DISK_BLOCKS * BLOCK_SIZE, parent=self.aged.image)
        encoder = image.encoder()
        calls = [
            self.places[start : start + _BLOCKS_PER_CALL]
            for start in range(0, len(self.places), _BLOCKS_PER_CALL)
        ]

        def encode(places: list[Place]) -> list[tuple[int, list[EncodedBlock]]]:
            return [(to, self._encoded(encoder, to, at)) for to, at in places]

        with ThreadPoolExecutor(options.threads) as pool:
            for done in map_bounded(pool, encode, calls, in_flight_max=options.in_flight_max):
                for to, blocks in done:
                    image.write(to, blocks)
        image.finish()
        # Of age 0: the next run must not take it for part of the ageing.
        writer.commit(created_at=utc_now(), facts={"age": -1})

    def _encoded(self, encoder: BlockEncoder, to: int, at: int) -> list[EncodedBlock]:
        return encoder.encode(to, os.pread(self.descriptor, BLOCK_SIZE, at * BLOCK_SIZE))

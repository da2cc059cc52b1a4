"""Where processor time goes: each stage of a backup and of a restore alone, in one thread.

The engine's own functions, over all bytes of the source; qemu-nbd's time is its own.

    read ─► zero? ─► digest ─► compress ─► put a pack          a full backup
    read ─► zero? ─► digest                                    a rescan
    get ─► decompress ─► digest ─► write                       a restore
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from benchmarks.arithmetic import Sample
from benchmarks.nbd_lanes import make_target, served
from benchmarks.plain_reader import places
from benchmarks.running import cpu_of, sync
from benchmarks.source import Source, compare
from csbs.blockio.nbd import BASE_ALLOCATION, NbdClient, NbdExport, NbdLimits
from csbs.blockio.watch import Watch
from csbs.domain.clock import monotonic
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import FETCH_SIZE_MAX, encoder
from csbs.repository.effort import LEVELS
from csbs.repository.objectstore import FolderStore
from csbs.repository.pack import Codec, Content, Frame, Kind, PackBuilder, decode_frame, pack_key
from csbs.repository.pack_reader import PackReader

_PACK_SIZE = 32 * 1024**2
_FETCH_SIZE = FETCH_SIZE_MAX
_KEY = bytes(32)


def measure_stages(source: Source, folder: Path) -> dict[str, Sample]:
    """Processor time of each stage, by its name in `benchmarks.bounds`.

    Raises `ImagesDiffer` if what was written is not the source.
    """
    folder.mkdir()
    target = folder / "target.qcow2"
    make_target(target)
    sync(folder)
    store = FolderStore(folder / "store")
    store.make()
    with ExitStack() as opened:
        reading = opened.enter_context(served(source.qcow2, folder / "r.sock", read_only=True))
        writing = opened.enter_context(served(target, folder / "w.sock", read_only=False))
        watch = opened.enter_context(Watch(cancelled=lambda: False, monotonic=monotonic))
        contexts = (BASE_ALLOCATION,)
        of = NbdExport(uri=reading.uri, disk="source", contexts=contexts)
        to = NbdExport(uri=writing.uri, disk="target")
        reader = opened.enter_context(NbdClient(of, watch, NbdLimits()))
        writer = opened.enter_context(NbdClient(to, watch, NbdLimits()))
        stages = _Stages(store, PackReader(store, _KEY), reader, writer)
        stages.run()
        found = dict(stages.seconds)
        found["stage_qemu_nbd_read"] = cpu_of(reading.pid)
        found["stage_qemu_nbd_write"] = cpu_of(writing.pid)
    compare(source.raw, target, other_format="qcow2")
    return {name: Sample(cpu_seconds=seconds) for name, seconds in found.items()}


@dataclass(slots=True)
class _Stages:
    store: FolderStore
    packs: PackReader
    reader: NbdClient
    writer: NbdClient
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _compressor: zstandard.ZstdCompressor = field(
        default_factory=lambda: zstandard.ZstdCompressor(level=LEVELS[0])
    )
    _chance: random.Random = field(default_factory=lambda: random.Random(0))

    def run(self) -> None:
        """A pack at a time: what was backed up is restored at once, so memory stays small."""
        pack, held = self._new_pack(), []
        for offset, size in places(self.reader):
            frames = self._encoded(offset, size)
            for at, frame in frames:
                with self._timed("put"):
                    pack.add(frame)
                held.append((at, frame))
            if pack.size_bytes >= _PACK_SIZE:
                self._restored(pack, held)
                pack, held = self._new_pack(), []
        self._restored(pack, held)
        with self._timed("write"):
            self.writer.flush()

    def _encoded(self, offset: int, size: int) -> list[tuple[int, Frame]]:
        with self._timed("read"):
            data = self.reader.read(offset, size)
        whole = memoryview(data)
        starts = range(0, size, BLOCK_SIZE)
        with self._timed("zero_test"):
            nonzero = encoder._nonzero(data, len(starts))  # noqa: SLF001  the engine's own test
            blocks = [at for at, some in zip(starts, nonzero, strict=True) if some]
        with self._timed("digest"):
            digests = [self.packs.digest(whole[at : at + BLOCK_SIZE]) for at in blocks]
        with self._timed("compress"):
            shrunk = [self._compressor.compress(whole[at : at + BLOCK_SIZE]) for at in blocks]
        frames = []
        for at, digest, data_of in zip(blocks, digests, shrunk, strict=True):
            plain_size = min(BLOCK_SIZE, size - at)
            frame = Frame(Kind.BLOCK, Codec.ZSTD, data_of, plain_size, digest)
            frames.append((offset + at, frame))
        return frames

    def _restored(self, pack: PackBuilder, held: Sequence[tuple[int, Frame]]) -> None:
        key = pack_key(pack.pack_id)
        with self._timed("put"):
            self.store.put(key, pack.finish())
        with self._timed("get"):
            for start in range(0, self.store.size(key), _FETCH_SIZE):
                self.store.get(key, offset=start, size=_FETCH_SIZE)
        with self._timed("forget"):
            self.store.delete(key)
        for first in range(0, len(held), _FETCH_SIZE // BLOCK_SIZE):
            self._written(key, held[first : first + _FETCH_SIZE // BLOCK_SIZE])

    def _written(self, key: str, held: Sequence[tuple[int, Frame]]) -> None:
        with self._timed("decompress"):
            plain = [
                decode_frame(key, frame.codec, frame.data, frame.plain_size) for _, frame in held
            ]
        with self._timed("digest_again"):
            digests = [self.packs.digest(each) for each in plain]
        assert digests == [frame.digest for _, frame in held]
        with self._timed("write"):
            for offset, data in _neighbours_joined([at for at, _ in held], plain):
                self.writer.write(offset, data)

    def _new_pack(self) -> PackBuilder:
        return PackBuilder(self._chance.randbytes(16), Content.BLOCKS)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.seconds[f"stage_{stage}"] += time.thread_time() - began


def _neighbours_joined(
    offsets: Sequence[int], plain: Sequence[bytes]
) -> Iterator[tuple[int, bytes]]:
    """One piece for each run of bytes without a gap."""
    first = 0
    for i in range(1, len(offsets) + 1):
        if i == len(offsets) or offsets[i] != offsets[i - 1] + len(plain[i - 1]):
            yield offsets[first], b"".join(plain[first:i])
            first = i

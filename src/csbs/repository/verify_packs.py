"""Checking packs, a few at once: by what maps need of them, by their own checks, frame by frame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from csbs.domain.errors import Corrupt
from csbs.domain.task import Progress
from csbs.repository.errors import CorruptObject, MissingPack
from csbs.repository.node import Flags
from csbs.repository.objectstore.base import ObjectInfo, ObjectStore
from csbs.repository.pack import PACK_KEY, SLOTS_MAX, Footer, Kind, pack_key
from csbs.repository.pack_check import FrameCheck, check_pack
from csbs.repository.pack_reader import load_footer
from csbs.repository.share import Share
from csbs.repository.verify_maps import Named
from csbs.repository.verify_report import Findings, VerifyParts, VerifyReport, VerifyWatch

#: Packs that are read at once: reading one waits for the store, decoding it for a processor.
THREADS = 4

#: So many damaged frames of one pack are listed: a rotten pack need not fill the report.
_FRAMES_TOLD_MAX = 10


def verify_packs(store: ObjectStore, share: Share, watch: VerifyWatch) -> VerifyReport:
    """Reads all packs of the share whole, and holds each against its own check.

    Needs the store alone: no key, no catalog, no other object of the repository.  It cannot say
    which backups a damaged pack is of, and nothing is kept.
    """
    found = Findings()
    listed = packs_of(store)
    wanted = [each for each in listed if share.has(each[0])]
    meter = _Meter(watch, wanted)

    def check(pack: tuple[bytes, ObjectInfo]) -> None:
        why: Corrupt | None = None
        try:
            check_pack(store, pack[0], on_bytes=meter.bytes_read, cancelled=watch.cancelled)
        except Corrupt as error:
            why = error
        with meter.lock:
            found.packs_read += 1
            if why is not None:
                found.add(pack[1].key, why)

    _side_by_side(check, wanted)
    return VerifyReport(
        packs=len(listed),
        packs_read=found.packs_read,
        read_bytes=meter.done_bytes,
        objects=tuple(sorted(found.objects, key=lambda each: each.key)),
        objects_left_off=found.objects_left_off,
    )


def packs_of(store: ObjectStore) -> list[tuple[bytes, ObjectInfo]]:
    """All packs that there are now, by their ids."""
    return sorted(
        (
            (bytes.fromhex(match[2]), each)
            for each in store.list("packs/")
            if (match := PACK_KEY.fullmatch(each.key))
        ),
        key=lambda pack: pack[0],
    )


def check_packs(
    parts: VerifyParts,
    named: Named,
    listed: Sequence[tuple[bytes, ObjectInfo]],
    share: Share | None,
    found: Findings,
) -> None:
    """Checks all packs against what maps need of them, and reads those of the share whole."""
    to_read = {pack_id for pack_id, _ in listed if share is not None and share.has(pack_id)}
    meter = _Meter(parts.watch, [each for each in listed if each[0] in to_read])
    done = 0

    def check(pack: tuple[bytes, ObjectInfo]) -> None:
        nonlocal done
        pack_id, info = pack
        parts.watch.check()
        result = _PackCheck(parts, pack_id)
        result.structure(named.blocks_of(pack_id))
        if pack_id in to_read:
            result.all_bytes(meter.bytes_read)
        with meter.lock:
            done += 1
            if share is None:
                doing = f"checking packs ({done} of {len(listed)})"
                parts.watch.progress(Progress(doing, 0, 0))
            found.packs_read += pack_id in to_read
            found.read.update({pack_id} & to_read)
            found.places += result.places
            for why in result.why:
                found.add(info.key, why)

    _side_by_side(check, listed)
    found.read_bytes = meter.done_bytes


class _PackCheck:
    """What is wrong with one pack."""

    def __init__(self, parts: VerifyParts, pack_id: bytes) -> None:
        self.why: list[object] = []
        self.places: list[tuple[bytes, int | None]] = []
        self._parts = parts
        self._pack_id = pack_id
        self._footer: Footer | None = None

    def structure(self, needed: Flags) -> None:
        """Trailer and footer, and whether it has all these slots as blocks."""
        try:
            footer = self._footer = load_footer(self._parts.store, self._pack_id)
        except Corrupt as error:
            self._all_lost(error)
            return
        missing = needed.copy()
        missing[footer.slots[(footer.kinds == Kind.BLOCK) & (footer.slots < SLOTS_MAX)]] = False
        slots = np.flatnonzero(missing).tolist()
        if slots:
            self.why.append(
                CorruptObject(pack_key(self._pack_id), "the blocks that maps name", "fewer")
            )
            self.places += [(self._pack_id, slot) for slot in slots]

    def all_bytes(self, on_bytes: Callable[[int, bytes], None]) -> None:
        """The pack's own check, and each frame; where the frames are whole none is lost."""
        if self._footer is None:
            return
        frames = FrameCheck(self._parts.packs, self._pack_id, self._footer)

        def take(offset: int, data: bytes) -> None:
            on_bytes(offset, data)
            frames.take(offset, data)

        try:
            check_pack(
                self._parts.store,
                self._pack_id,
                on_bytes=take,
                cancelled=self._parts.watch.cancelled,
            )
        except MissingPack as error:
            self._all_lost(error)
            return
        except Corrupt as error:
            self.why.append(error)
        frames.finish()
        self.why += list(frames.damaged.values())[:_FRAMES_TOLD_MAX]
        if len(frames.damaged) == len(self._footer.slots):
            self.places.append((self._pack_id, None))
        else:
            self.places += [(self._pack_id, slot) for slot in frames.damaged]

    def _all_lost(self, why: Corrupt) -> None:
        self.why.append(why)
        self.places.append((self._pack_id, None))


class _Meter:
    """Counts what was read; `bytes_read` may be called by several threads."""

    def __init__(self, watch: VerifyWatch, packs: Sequence[tuple[bytes, ObjectInfo]]) -> None:
        self.lock = threading.Lock()
        self.done_bytes = 0
        self._watch = watch
        self._total_bytes = sum(info.size_bytes for _, info in packs)

    def bytes_read(self, _offset: int, data: bytes) -> None:
        """So many more."""
        with self.lock:
            self.done_bytes += len(data)
            progress = Progress("reading packs", self.done_bytes, self._total_bytes)
            self._watch.progress(progress)


def _side_by_side(
    check: Callable[[tuple[bytes, ObjectInfo]], None], packs: Sequence[tuple[bytes, ObjectInfo]]
) -> None:
    """Checks all packs, a few at once; the first failure ends all of them, and is raised."""
    left = iter(packs)
    turn = threading.Lock()
    failed = threading.Event()

    def work() -> None:
        while not failed.is_set():
            with turn:
                pack = next(left, None)
            if pack is None:
                return
            try:
                check(pack)
            except BaseException:
                failed.set()
                raise

    with ThreadPoolExecutor(THREADS, "verify-packs") as pool:
        for future in [pool.submit(work) for _ in range(THREADS)]:
            future.result()

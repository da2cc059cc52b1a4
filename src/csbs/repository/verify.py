"""Verification: is all there that backups need, and as it was written?

    1  text objects   config, owners, manifests with what voids or deletes them, known damage
    2  maps           from the root of each live image, each node once: read, digest checked
    3  packs          each one there is: trailer and footer, and whether it has every block that
                      a map names.  Of the share that is to be read: all bytes, by the pack's own
                      check, and frame by frame
    4  what is lost   damage is traced back to backups, disks and ranges, and kept

Memory is two bits for each slot, of which a collection has one; nodes are visited once, and where
there is damage once more.  The caller holds the repository's lock as readers do: nothing goes away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from csbs.domain.errors import Corrupt, OperationCancelled
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.task import Progress
from csbs.repository import damage as damages
from csbs.repository import text_object
from csbs.repository.damage import Damage, damage_of
from csbs.repository.damaged_runs import DamagedRuns
from csbs.repository.errors import CorruptObject, MissingPack, ObjectNotFound
from csbs.repository.identity import CONFIG_KEY, OWNERS, decode_config
from csbs.repository.manifest import Image, Manifest
from csbs.repository.manifest_store import ManifestStore
from csbs.repository.map_reader import Entry, MapReader
from csbs.repository.node import DAMAGED, I32, STORED, U16, Flags, PackTable
from csbs.repository.objectstore.base import ObjectInfo, ObjectStore
from csbs.repository.pack import PACK_KEY, Footer, Kind, pack_key
from csbs.repository.pack_check import FrameCheck, check_pack
from csbs.repository.pack_reader import PackReader, load_footer
from csbs.repository.share import Share
from csbs.repository.slot_bits import SlotBits

#: Packs that are read at once: reading one waits for the store, decoding it for a processor.
THREADS = 4

#: What a report lists; beyond that it only counts.
LISTED_MAX = 1000


@dataclass(frozen=True, slots=True)
class DamagedObject:
    """An object that is not what was written, or is gone."""

    key: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedImage:
    """A disk of a backup that has lost blocks.

    `ranges` are (offset, size) in the disk, in bytes, ascending; those beyond `LISTED_MAX` are
    left off and only counted.
    """

    manifest: Manifest
    image: Image
    lost_bytes: int
    ranges: tuple[tuple[int, int], ...]
    ranges_left_off: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was looked at, and what is damaged."""

    #: Keys of the manifests of all backups that there are, as far as they could be read.
    keys: frozenset[str] = frozenset()
    nodes: int = 0
    packs: int = 0
    #: Of which all bytes were read.
    packs_read: int = 0
    read_bytes: int = 0
    objects: tuple[DamagedObject, ...] = ()
    objects_left_off: int = 0
    images: tuple[DamagedImage, ...] = ()
    #: Whether writers know of it from now on.
    kept: bool = True

    @property
    def backups(self) -> int:
        """How many backups were looked at."""
        return len(self.keys)

    @property
    def damaged(self) -> bool:
        """Whether anything is."""
        return bool(self.objects or self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyWatch:
    """Who is told how far it is, and says when it is to stop."""

    progress: Callable[[Progress], None]
    cancelled: Callable[[], bool]

    def check(self) -> None:
        """Raises `OperationCancelled` if it is to stop."""
        if self.cancelled():
            raise OperationCancelled("the verification")


@dataclass(slots=True)
class Findings:
    """What was found so far."""

    nodes: int = 0
    packs_read: int = 0
    read_bytes: int = 0
    objects: list[DamagedObject] = field(default_factory=list)
    objects_left_off: int = 0
    #: Maps say themselves that blocks were lost.
    given_up: bool = False
    #: (pack, slot); None for a slot: all of the pack.
    places: list[tuple[bytes, int | None]] = field(default_factory=list)
    #: Packs of which all bytes were read and held against what they must be.
    read: set[bytes] = field(default_factory=set)

    def add(self, key: str, why: object) -> None:
        """One more damaged object."""
        if len(self.objects) < LISTED_MAX:
            self.objects.append(DamagedObject(key, str(why)))
        else:
            self.objects_left_off += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyParts:
    """What a verification works with."""

    name: str
    store: ObjectStore
    packs: PackReader
    manifests: ManifestStore
    watch: VerifyWatch


def verify(
    parts: VerifyParts, share: Share | None, keep: Callable[[Damage, Damage], bool]
) -> VerifyReport:
    """Verifies the structure, and all bytes of the packs of `share`.

    `keep` is called with all that is known to be damaged now, and what was known before, if these
    differ; it answers whether that was kept.  What was known before counts until all bytes of its
    pack were read.
    """
    found = Findings()
    before = _check_text_objects(parts, found)
    manifests = list(_check_manifests(parts, found))
    named = _Named(parts, found)
    for done, manifest in enumerate(manifests):
        parts.watch.progress(Progress(f"reading maps ({done} of {len(manifests)} backups)", 0, 0))
        for image in manifest.images:
            named.add(manifest, image)
    listed = packs_of(parts.store)
    named.number(listed)
    _check_packs(parts, named, listed, share, found)
    named.tell_missing({pack_id for pack_id, _ in listed})
    there = {pack_id for pack_id, _ in listed} | named.pack_ids()
    still = before.without(found.read)
    still = Damage({each: slots for each, slots in still.packs.items() if each in there})
    _tell_known(still, found)
    damage = still.union(damage_of(found.places))
    kept = damage == before or keep(damage, before)
    lossy = damage or found.given_up
    images = tuple(_damaged_images(parts, manifests, damage)) if lossy else ()
    return VerifyReport(
        keys=frozenset(manifest.key for manifest in manifests),
        nodes=found.nodes,
        packs=len(listed),
        packs_read=found.packs_read,
        read_bytes=found.read_bytes,
        objects=tuple(found.objects),
        objects_left_off=found.objects_left_off,
        images=images,
        kept=kept,
    )


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


# --- text objects ----------------------------------------------------------------------------


def _check_text_objects(parts: VerifyParts, found: Findings) -> Damage:
    """Config, owners, and what is known of damage, which is returned."""
    store = parts.store
    for key in (CONFIG_KEY, *sorted(each.key for each in store.list(OWNERS))):
        try:
            data = store.get(key)
            if key == CONFIG_KEY:
                decode_config(parts.name, data)
            else:
                text_object.decode(key, text_object.OWNER_MAGIC, data)
        except (CorruptObject, ObjectNotFound) as error:
            found.add(key, error)
    for key in sorted(each.key for each in store.list(damages.PREFIX)):
        try:
            damages.decode_damage(key, store.get(key))
        except CorruptObject as error:
            found.add(key, error)
        except ObjectNotFound:  # another verification has put a newer one
            continue
    return damages.known_damage(store)


def _check_manifests(parts: VerifyParts, found: Findings) -> Iterator[Manifest]:
    """All live ones that can be read."""
    for key, each in parts.manifests.checked():
        parts.watch.check()
        if isinstance(each, CorruptObject):
            found.add(key, each)
        elif each is not None:
            yield each


# --- maps ------------------------------------------------------------------------------------


class _Named:
    """What live maps name: each node is read once, each block is one bit."""

    def __init__(self, parts: VerifyParts, found: Findings) -> None:
        self._parts = parts
        self._found = found
        self._table = PackTable()
        self._maps = MapReader(parts.packs, self._table)
        self._nodes = SlotBits()
        self._blocks = SlotBits()
        self._packs: set[bytes] = set()

    def add(self, manifest: Manifest, image: Image) -> None:
        """Walks the map of an image, as far as others had it not."""
        if image.root is None:
            return
        root = self._maps.root(image)
        packs, slots = np.array([root.pack], np.int32), np.array([root.slot], np.uint16)
        self._walk(image.level, packs, slots)
        try:
            digest = self._parts.packs.digest(self._parts.packs.frame(image.root, Kind.NODE))
        except Corrupt:
            return  # the walk has told
        if digest != image.root_digest:
            self._found.add(
                manifest.key, f"the map of disk {image.id} has another root than the manifest says"
            )

    def number(self, packs: Sequence[tuple[bytes, ObjectInfo]]) -> None:
        """Numbers all packs: afterwards several threads may ask `blocks_of`."""
        for pack_id, _ in packs:
            self._table.number(pack_id)

    def blocks_of(self, pack_id: bytes) -> Flags:
        """For each possible slot of the pack whether a map names it as a block."""
        return self._blocks.of(self._table.number(pack_id))

    def pack_ids(self) -> set[bytes]:
        """All packs that maps name."""
        return self._packs

    def tell_missing(self, listed: set[bytes]) -> None:
        """Packs that are named and not there."""
        for pack_id in sorted(self._packs - listed):
            self._found.add(pack_key(pack_id), MissingPack(pack_id.hex()))
            self._found.places.append((pack_id, None))

    def _walk(self, level: int, packs: I32, slots: U16) -> None:
        self._note_packs(packs)
        new = ~self._nodes.has(packs, slots)
        self._nodes.add(packs, slots)
        for entry, node in self._maps.nodes(level, packs[new], slots[new]):
            self._parts.watch.check()
            if isinstance(node, Corrupt):
                self._tell(entry, node)
                continue
            self._found.nodes += 1
            stored = node.states == STORED
            if level:
                self._walk(level - 1, node.packs[stored], node.slots[stored])
            else:
                self._found.given_up |= bool((node.states == DAMAGED).any())
                self._note_packs(node.packs[stored])
                self._blocks.add(node.packs[stored], node.slots[stored])

    def _note_packs(self, packs: I32) -> None:
        self._packs.update(self._table.pack_id(int(number)) for number in np.unique(packs))

    def _tell(self, entry: Entry, why: Corrupt) -> None:
        address = self._maps.address(entry)
        if self._parts.packs.has_footer(address.pack_id):  # else the pack is told of as a whole
            self._found.add(pack_key(address.pack_id), why)
            self._found.places.append((address.pack_id, address.slot))


# --- packs -----------------------------------------------------------------------------------


def _check_packs(
    parts: VerifyParts,
    named: _Named,
    listed: Sequence[tuple[bytes, ObjectInfo]],
    share: Share | None,
    found: Findings,
) -> None:
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
        missing[footer.slots[footer.kinds == Kind.BLOCK]] = False
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
        self.why += frames.damaged.values()
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


# --- what is lost ----------------------------------------------------------------------------


def _tell_known(still: Damage, found: Findings) -> None:
    told = {each.key for each in found.objects}
    for pack_id in sorted(still.packs):
        key = pack_key(pack_id)
        if key not in told:
            found.add(key, f"object {key} was found damaged before, and was not read whole again")


def _damaged_images(
    parts: VerifyParts, manifests: Sequence[Manifest], damage: Damage
) -> Iterator[DamagedImage]:
    runs = DamagedRuns(parts.packs, damage)
    for done, manifest in enumerate(manifests):
        parts.watch.progress(
            Progress(f"naming what is lost ({done} of {len(manifests)} backups)", 0, 0)
        )
        for image in manifest.images:
            parts.watch.check()
            ranges: list[tuple[int, int]] = []
            lost_bytes = count = 0
            for offset_bytes, end_bytes in _joined(runs.of(image), image.size_bytes):
                lost_bytes += end_bytes - offset_bytes
                count += 1
                if count <= LISTED_MAX:
                    ranges.append((offset_bytes, end_bytes - offset_bytes))
            if count:
                yield DamagedImage(
                    manifest=manifest,
                    image=image,
                    lost_bytes=lost_bytes,
                    ranges=tuple(ranges),
                    ranges_left_off=count - len(ranges),
                )


def _joined(runs: Iterator[tuple[int, int]], size_bytes: int) -> Iterator[tuple[int, int]]:
    """Half-open ranges of bytes; runs that touch are one."""
    current: tuple[int, int] | None = None
    for first, end in runs:
        if current is not None and current[1] == first:
            current = current[0], end
            continue
        if current is not None:
            yield current[0] * BLOCK_SIZE, min(current[1] * BLOCK_SIZE, size_bytes)
        current = first, end
    if current is not None:
        yield current[0] * BLOCK_SIZE, min(current[1] * BLOCK_SIZE, size_bytes)

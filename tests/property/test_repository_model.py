"""The repository against a model: a dictionary of the bytes that each backup must restore."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import HOLE, ZERO, BackupWriter, Image, Manifest, Rotation
from csbs.repository.objectstore import MemoryStore
from csbs.testing.repositories import START, Lab

DISKS = ("system", "data")
#: A leaf and a little: so maps have one level or two.
BLOCKS_MAX = 520

_disks = st.sampled_from(DISKS)
_near_an_edge = st.one_of(st.integers(0, 12), st.integers(505, BLOCKS_MAX))
_counts = st.integers(1, 4)


@dataclass(slots=True)
class Disk:
    """What is on a disk now, and which blocks changed since the last backup (None: not known)."""

    size_bytes: int = 3 * BLOCK_SIZE
    blocks: dict[int, bytes] = field(default_factory=dict)
    #: Blocks that were discarded: the source says hole.
    holes: set[int] = field(default_factory=set)
    dirty: set[int] | None = None

    @property
    def block_count(self) -> int:
        return -(-self.size_bytes // BLOCK_SIZE)

    def block(self, number: int) -> bytes:
        return self.blocks.get(number, bytes(BLOCK_SIZE))

    def content(self) -> dict[int, bytes]:
        return {number: data for number, data in self.blocks.items() if any(data)}

    def touch(self, first: int, count: int, data: bytes | None) -> None:
        for number in range(first, min(first + count, self.block_count)):
            room = min(BLOCK_SIZE, self.size_bytes - number * BLOCK_SIZE)
            self.blocks.pop(number, None)
            self.holes.discard(number)
            if data is None:
                self.holes.add(number)
            elif any(data):
                self.blocks[number] = data[:room].ljust(BLOCK_SIZE, b"\0")
            if self.dirty is not None:
                self.dirty.add(number)

    def resize(self, size_bytes: int) -> None:
        if size_bytes == self.size_bytes:
            return
        keep = size_bytes // BLOCK_SIZE
        tail = self.blocks.get(keep, b"")[: size_bytes % BLOCK_SIZE]
        self.blocks = {number: data for number, data in self.blocks.items() if number < keep}
        if any(tail):
            self.blocks[keep] = tail.ljust(BLOCK_SIZE, b"\0")
        self.size_bytes = size_bytes
        self.holes = {number for number in self.holes if number < keep}


Expected = dict[str, tuple[int, dict[int, bytes]]]


class RepositoryModel(RuleBasedStateMachine):
    """Two disks that change and are resized; backups that come and go in any order."""

    encrypted = False

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._lab = Lab(MemoryStore(), Path(self._folder.name), encrypted=self.encrypted)
        self._disks = {disk_id: Disk() for disk_id in DISKS}
        self._backups: dict[str, tuple[Manifest, Expected]] = {}
        self._newest: Manifest | None = None

    def teardown(self) -> None:
        self._lab.close()
        self._folder.cleanup()

    # --- the disks -----------------------------------------------------------------------------

    @rule(disk=_disks, first=_near_an_edge, count=_counts, value=st.integers(0, 5))
    def write(self, disk: str, first: int, count: int, value: int) -> None:
        self._disks[disk].touch(first, count, bytes([value]) * BLOCK_SIZE)

    @rule(disk=_disks, first=_near_an_edge, count=_counts)
    def discard(self, disk: str, first: int, count: int) -> None:
        self._disks[disk].touch(first, count, None)

    @rule(disk=_disks, blocks=_near_an_edge, extra=st.sampled_from([0, 1, 512, BLOCK_SIZE - 1]))
    def resize(self, disk: str, blocks: int, extra: int) -> None:
        self._disks[disk].resize(blocks * BLOCK_SIZE + extra)

    # --- backups -------------------------------------------------------------------------------

    @rule(full=st.booleans(), rescan=st.booleans())
    def back_up(self, *, full: bool, rescan: bool) -> None:
        writer = self._lab.begin()
        parents: dict[str, Image | None] = {}
        for disk_id, disk in self._disks.items():
            parent = None if full or self._newest is None else self._newest.image(disk_id)
            if rescan or parent is None:
                disk.dirty = None
            image = _write(writer, disk_id, disk, parent)
            assert image.nonzero_blocks == len(disk.content())
            disk.dirty = set()
            parents[disk_id] = parent
        manifest = writer.commit(created_at=START, facts={})
        for image in manifest.images:
            changed_blocks = self._lab.repository.difference(parents[image.id], image)
            assert changed_blocks == image.changed_blocks
        expected = {i: (disk.size_bytes, disk.content()) for i, disk in self._disks.items()}
        self._backups[manifest.key] = manifest, expected
        self._newest = manifest

    @rule()
    def give_a_backup_up(self) -> None:
        writer = self._lab.begin()
        image = writer.image("system", 8 * BLOCK_SIZE, parent=None)
        for number in range(8):
            data = bytes([number + 1]) * BLOCK_SIZE
            image.write(number, image.encoder().encode(number, data))

        assert writer.abort()

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if not self._backups:
            return
        key = data.draw(st.sampled_from(sorted(self._backups)))
        manifest, _ = self._backups.pop(key)
        self._lab.repository.delete(key, manifest.backup_id, deleted_at=START)
        if self._newest == manifest:
            self._newest = None

    # --- the repository ------------------------------------------------------------------------

    @rule()
    def collect(self) -> None:
        report = self._lab.repository.collect(self._lab.index)
        stored = sum(each.size_bytes for each in self._lab.store.list("packs/"))

        assert report.kept_bytes == stored
        assert stored > 0 or not any(
            content for _, disks in self._backups.values() for _, content in disks.values()
        )

    @rule()
    def reopen(self) -> None:
        self._lab.repository = self._lab.opened()

    @rule(what=st.sampled_from(Rotation))
    def rotate_a_key(self, what: Rotation) -> None:
        if self.encrypted:
            self._lab.repository.rotate_key(what)
            self.reopen()

    @rule()
    def lose_the_index(self) -> None:
        self._lab.index.rebuild([])

    @rule()
    def rebuild_the_index(self) -> None:
        self._lab.repository.rebuild_index(self._lab.index)

    @invariant()
    def every_live_backup_reads_back(self) -> None:
        live = {manifest.key: manifest for manifest in self._lab.repository.manifests()}
        assert live == {key: manifest for key, (manifest, _) in self._backups.items()}

        for manifest, expected in self._backups.values():
            for image in manifest.images:
                size_bytes, content = expected[image.id]
                assert image.size_bytes == size_bytes
                assert _content(self._lab, image) == content


def _write(writer: BackupWriter, disk_id: str, disk: Disk, parent: Image | None) -> Image:
    image = writer.image(disk_id, disk.size_bytes, parent=parent)
    encoder = image.encoder()
    for number in range(disk.block_count):
        if disk.dirty is not None and number not in disk.dirty:
            continue
        if number in disk.blocks:
            data = disk.blocks[number][: disk.size_bytes - number * BLOCK_SIZE]
            image.write(number, encoder.encode(number, data))
        else:
            image.fill(number, number + 1, HOLE if number in disk.holes else ZERO)
    return image.finish()


def _content(lab: Lab, image: Image) -> dict[int, bytes]:
    reader = lab.repository.reader(image)
    return {block: plain for fetch in reader.fetches() for block, plain in reader.load(fetch)}


class EncryptedRepositoryModel(RepositoryModel):
    """The same, and keys that are rotated in between."""

    encrypted = True


_SETTINGS = settings(max_examples=60, stateful_step_count=25, deadline=None)
RepositoryModel.TestCase.settings = _SETTINGS
EncryptedRepositoryModel.TestCase.settings = _SETTINGS
TestRepository = RepositoryModel.TestCase
TestEncryptedRepository = EncryptedRepositoryModel.TestCase

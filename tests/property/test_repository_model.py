"""The repository against a model: a dictionary of the bytes that each backup must restore."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from csbs.repository import ZERO, ContentIndex, Manifest, Repository
from csbs.repository.objectstore import MemoryStore

BLOCK = 65536
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CATALOG = str(uuid4())


class RepositoryModel(RuleBasedStateMachine):
    """One disk that changes and is resized; backups that come and go in any order."""

    index: ContentIndex

    @initialize(blocks=st.integers(0, 40))
    def begin(self, blocks: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = MemoryStore()
        self.disk = bytearray(blocks * BLOCK)
        self.dirty: set[int] | None = None
        self.backups: dict[str, tuple[Manifest, bytes]] = {}
        self.newest: Manifest | None = None
        self.reopen()

    def teardown(self) -> None:
        if hasattr(self, "index"):
            self.index.close()
            self.folder.cleanup()

    @rule()
    def reopen(self) -> None:
        if hasattr(self, "index"):
            self.index.close()
        self.index = ContentIndex(Path(self.folder.name) / "index.sqlite")
        self.repository = Repository.open(
            self.store,
            name="memory",
            catalog_id=CATALOG,
            clock=lambda: NOW,
            new_id=lambda: str(uuid4()),
        )

    @rule()
    def lose_the_index(self) -> None:
        self.index.close()
        (Path(self.folder.name) / "index.sqlite").unlink()
        self.reopen()

    @rule(block=st.integers(0, 45), value=st.integers(0, 5), count=st.integers(1, 4))
    def write(self, block: int, value: int, count: int) -> None:
        for number in range(block, min(block + count, len(self.disk) // BLOCK)):
            self.disk[number * BLOCK : (number + 1) * BLOCK] = bytes([value]) * BLOCK
            if self.dirty is not None:
                self.dirty.add(number)

    @rule(blocks=st.integers(0, 45), extra=st.sampled_from([0, 1, 512, BLOCK - 1]))
    def resize(self, blocks: int, extra: int) -> None:
        size = blocks * BLOCK + extra
        self.disk = self.disk[:size] + bytearray(max(size - len(self.disk), 0))
        self.dirty = None  # as after any resize: all is read again

    @rule(incremental=st.booleans())
    def back_up(self, incremental: bool) -> None:  # noqa: FBT001  hypothesis passes by name
        writer = self.repository.begin(str(uuid4()), started_at=NOW, index=self.index)
        parent = self.newest.image("d") if self.newest else None
        image = writer.image("d", len(self.disk), parent=parent)
        encoder = image.encoder()
        tracked = incremental and self.dirty is not None and parent is not None
        for number in range(-(-len(self.disk) // BLOCK)):
            if tracked and number not in (self.dirty or set()):
                continue
            data = bytes(self.disk[number * BLOCK : (number + 1) * BLOCK])
            if any(data):
                image.write(number, encoder.encode(number, data))
            else:
                image.fill(number, number + 1, ZERO)
        image.finish()
        manifest = writer.commit(created_at=NOW, facts={"n": len(self.backups)})
        self.backups[manifest.backup_id] = manifest, bytes(self.disk)
        self.newest = manifest
        self.dirty = set()

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if not self.backups:
            return
        backup_id = data.draw(st.sampled_from(sorted(self.backups)))
        manifest, _ = self.backups.pop(backup_id)
        self.repository.delete(manifest.key, backup_id, deleted_at=NOW)
        if self.newest is manifest:
            self.newest, self.dirty = None, None

    @rule()
    def collect(self) -> None:
        self.repository.collect(self.index)

    @rule()
    def abandon_a_backup(self) -> None:
        writer = self.repository.begin(str(uuid4()), started_at=NOW, index=self.index)
        image = writer.image("d", BLOCK, parent=None)
        image.write(0, image.encoder().encode(0, b"\x07" * BLOCK))

        assert writer.abort()

    @invariant()
    def every_live_backup_reads_back(self) -> None:
        live = {manifest.backup_id for manifest in self.repository.manifests()}

        assert live == set(self.backups)

        for manifest, expected in self.backups.values():
            image = manifest.images[0]
            blocks = [expected[i : i + BLOCK] for i in range(0, len(expected), BLOCK)]

            assert self.repository.reader(image).read(0, len(expected)) == expected
            assert image.nonzero_blocks == sum(1 for block in blocks if any(block))


RepositoryModel.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestRepository = RepositoryModel.TestCase

"""A crash at any call to the store keeps every committed backup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from csbs.repository import ContentIndex, Image, Manifest, Repository
from csbs.repository.objectstore import Bytes, MemoryStore

BLOCK = 65536
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CATALOG = str(uuid4())
#: More than any of the operations below needs; the last crash points are not reached.
CALLS_MAX = 12


class PowerCut(BaseException):
    """Nothing of ours catches it, as nothing catches a power cut."""


class CrashingStore(MemoryStore):
    """Ends the process, so to say, before or after the n-th call that changes something."""

    def __init__(self) -> None:
        super().__init__()
        self.crash_at: int | None = None
        self.after = False

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        self._around(lambda: super(CrashingStore, self).put(key, parts, use_reserve=use_reserve))

    def replace(self, key: str, data: bytes) -> None:
        self._around(lambda: super(CrashingStore, self).replace(key, data))

    def delete(self, key: str) -> None:
        self._around(lambda: super(CrashingStore, self).delete(key))

    def _around(self, change: Callable[[], None]) -> None:
        if self.crash_at is None:
            change()
            return
        self.crash_at -= 1
        if self.crash_at < 0:
            raise PowerCut  # the process is dead: whatever it still tries does not happen
        if self.crash_at == 0:
            self.crash_at = -1
            if self.after:
                change()
            raise PowerCut
        change()


def opened(store: CrashingStore) -> Repository:
    return Repository.open(
        store, name="memory", catalog_id=CATALOG, clock=lambda: NOW, new_id=lambda: str(uuid4())
    )


def backed_up(
    repository: Repository, index: ContentIndex, data: bytes, parent: Image | None
) -> Manifest:
    writer = repository.begin(str(uuid4()), started_at=NOW, index=index)
    image = writer.image("d", len(data), parent=parent)
    image.write(0, image.encoder().encode(0, data))
    image.finish()
    return writer.commit(created_at=NOW, facts={})


def content(seed: int) -> bytes:
    return b"".join(bytes([seed + number]) * BLOCK for number in range(4))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(1, CALLS_MAX))
def test_a_crash_at_any_store_call_keeps_every_committed_backup(
    tmp_path: Path, crash_at: int, *, after: bool
) -> None:
    store = CrashingStore()
    repository, index = opened(store), ContentIndex(tmp_path / "index.sqlite")
    first = backed_up(repository, index, content(1), None)

    store.crash_at, store.after = crash_at, after
    with suppress(PowerCut):
        backed_up(repository, index, content(9), first.images[0])
    store.crash_at = None

    index.close()
    again, index = opened(store), ContentIndex(tmp_path / "index.sqlite")
    expected = {first.backup_id: content(1)}
    for manifest in again.manifests():
        wanted = expected.get(manifest.backup_id, content(9))
        assert again.reader(manifest.images[0]).read(0, 4 * BLOCK) == wanted
    assert first.backup_id in {manifest.backup_id for manifest in again.manifests()}
    again.collect(index)
    next_one = backed_up(again, index, content(20), first.images[0])
    assert again.reader(first.images[0]).read(0, 4 * BLOCK) == content(1)
    assert again.reader(next_one.images[0]).read(0, 4 * BLOCK) == content(20)
    index.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("crash_at", range(1, CALLS_MAX))
def test_a_crash_at_any_store_call_of_a_collection_keeps_every_live_backup(
    tmp_path: Path, crash_at: int, *, after: bool
) -> None:
    store = CrashingStore()
    repository, index = opened(store), ContentIndex(tmp_path / "index.sqlite")
    first = backed_up(repository, index, content(1), None)
    second = backed_up(repository, index, content(3), first.images[0])
    repository.delete(first.key, first.backup_id, deleted_at=NOW)

    store.crash_at, store.after = crash_at, after
    with suppress(PowerCut):
        repository.collect(index)
    store.crash_at = None

    index.close()
    again, index = opened(store), ContentIndex(tmp_path / "index.sqlite")
    assert [manifest.backup_id for manifest in again.manifests()] == [second.backup_id]
    assert again.reader(second.images[0]).read(0, 4 * BLOCK) == content(3)
    again.collect(index)
    third = backed_up(again, index, content(1), second.images[0])
    assert again.reader(third.images[0]).read(0, 4 * BLOCK) == content(1)
    index.close()

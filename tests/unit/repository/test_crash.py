"""A crash at any call to the store keeps every committed backup."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import Image
from csbs.repository.objectstore import MemoryStore
from csbs.testing.faults import Crash, CrashingStore
from csbs.testing.repositories import START, Lab, noise, restored, write_image

OLD = noise(1, 9 * BLOCK_SIZE)
NEW = noise(2, 5 * BLOCK_SIZE) + OLD[5 * BLOCK_SIZE :]
NEXT = noise(3, 2 * BLOCK_SIZE) + OLD[2 * BLOCK_SIZE :]

#: More than any operation below makes; `_crashed` asserts it.
CALLS_MAX = 60

pytestmark = [
    pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"]),
    pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"]),
]


@contextmanager
def _lab(store: MemoryStore, folder: Path, seed: int, *, encrypted: bool) -> Iterator[Lab]:
    lab = Lab(store, folder, seed=seed, encrypted=encrypted)
    try:
        yield lab
    finally:
        lab.close()


def _backed_up_until_crash(
    store: MemoryStore, folder: Path, crash_at: int, *, after_effect: bool, encrypted: bool
) -> bool:
    """Makes a first backup, and a second one that dies; whether it did die."""
    with _lab(store, folder, 1, encrypted=encrypted) as lab:
        first = lab.back_up(OLD)
        crashing = CrashingStore(store, crash_at=crash_at, after_effect=after_effect)
        try:
            writer = lab.begin(lab.opened(crashing))
            blocks = {i: NEW[i * BLOCK_SIZE : (i + 1) * BLOCK_SIZE] for i in range(9)}
            write_image(writer, len(NEW), blocks, first.images[0])
            writer.commit(created_at=START, facts={})
        except Crash:
            pass
        return crashing.crashed


def _collected_until_crash(
    store: MemoryStore, folder: Path, crash_at: int, *, after_effect: bool, encrypted: bool
) -> bool:
    """Two backups, the first deleted, and a collection that dies; whether it did die."""
    with _lab(store, folder, 1, encrypted=encrypted) as lab:
        first = lab.back_up(OLD)
        lab.back_up(NEW, first.images[0])
        lab.repository.delete(first.key, first.backup_id, deleted_at=START)
        crashing = CrashingStore(store, crash_at=crash_at, after_effect=after_effect)
        with suppress(Crash):
            lab.opened(crashing).collect(lab.index)
        return crashing.crashed


def test_a_crash_at_any_store_call_keeps_every_committed_backup(
    tmp_path: Path, *, after_effect: bool, encrypted: bool
) -> None:
    for crash_at in range(CALLS_MAX):
        store, folder = MemoryStore(), tmp_path / str(crash_at)
        folder.mkdir()
        crashed = _backed_up_until_crash(
            store, folder, crash_at, after_effect=after_effect, encrypted=encrypted
        )
        with _lab(store, folder, 2, encrypted=encrypted) as lab:
            live = list(lab.repository.manifests())
            found = sorted(lab.restored(manifest) for manifest in live)
            assert found in ([OLD], sorted([OLD, NEW])), crash_at
            _goes_on(lab, live[-1].images[0])
        if not crashed:
            return
    pytest.fail(f"more than {CALLS_MAX} calls")


def test_a_crash_at_any_store_call_of_a_collection_keeps_every_live_backup(
    tmp_path: Path, *, after_effect: bool, encrypted: bool
) -> None:
    for crash_at in range(CALLS_MAX):
        store, folder = MemoryStore(), tmp_path / str(crash_at)
        folder.mkdir()
        crashed = _collected_until_crash(
            store, folder, crash_at, after_effect=after_effect, encrypted=encrypted
        )
        with _lab(store, folder, 2, encrypted=encrypted) as lab:
            live = list(lab.repository.manifests())
            assert [lab.restored(manifest) for manifest in live] == [NEW], crash_at
            _goes_on(lab, live[0].images[0])
        if not crashed:
            return
    pytest.fail(f"more than {CALLS_MAX} calls")


def _goes_on(lab: Lab, parent: Image) -> None:
    """The next backup and the next collection succeed, and nothing gets lost by them."""
    before = {manifest.key: lab.restored(manifest) for manifest in lab.repository.manifests()}
    following = lab.back_up(NEXT, parent)
    lab.repository.collect(lab.index)
    again = lab.opened()
    for manifest in again.manifests():
        wanted = NEXT if manifest.key == following.key else before[manifest.key]
        assert restored(again, manifest.images[0]) == wanted
    assert len(list(again.manifests())) == len(before) + 1

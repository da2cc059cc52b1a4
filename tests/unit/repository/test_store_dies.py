"""A store dies at every single call: what was committed stays right, and what was begun is done.

After each death another process opens the store.  It finds every committed backup sound and byte
for byte what it was, repeats what was interrupted, finds nothing doubled, and collects the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import Damage
from csbs.repository.damage import NO_DAMAGE, known_damage
from csbs.repository.identity import CONFIG_KEY
from csbs.repository.mirror import Mirror, mirror
from csbs.repository.objectstore import FolderStore, MemoryStore, ObjectStore
from csbs.repository.pack import pack_key
from csbs.testing.repositories import START, Lab
from tests.unit.repository.dying_world import (
    NEW,
    NEXT,
    OLD,
    OPERATIONS,
    WAYS,
    Ground,
    Operation,
    Way,
    contents,
    left_by_deaths,
    objects,
    process,
    stored_bytes,
    verified,
)

CASES = {
    f"{name}-{'encrypted' if encrypted else 'plain'}": (operation, encrypted)
    for name, operation in OPERATIONS.items()
    for encrypted in (False, True)
    if encrypted or not operation.encrypted_only
}
Slots = tuple[int, ...]

#: What a few headers and footers more take: fewer blocks in a pack that was begun anew.
SLACK = 4096


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder that needs no disk: hundreds of stores are synced in it."""
    with TemporaryDirectory(dir="/dev/shm", prefix="csbs-test-") as folder:
        yield Path(folder)


@pytest.mark.parametrize(("operation", "encrypted"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_at_every_call(memory: Path, operation: Operation, way: Way, *, encrypted: bool) -> None:
    begun = Ground.new(memory / "begun", way)
    if not operation.makes_repository:
        with process(begun.store, begun.folder, 1, encrypted=encrypted) as lab:
            operation.prepare(lab)
    undisturbed = begun.copied(memory / "undisturbed")
    with process(undisturbed.store, undisturbed.folder, 3, encrypted=encrypted) as lab:
        operation.repeat(lab)
        assert_goes_on(lab, undisturbed.store)

    def act(store: ObjectStore, folder: Path) -> None:
        with process(store, folder, 2, encrypted=encrypted) as lab:
            operation.carry_out(lab)

    for left in left_by_deaths(begun, way, act):
        with process(left.store, left.folder, 3, encrypted=encrypted) as lab:
            assert_done_by_the_next(operation, lab, left.store)
        assert stored_bytes(left.store) <= stored_bytes(undisturbed.store) + SLACK


def assert_done_by_the_next(operation: Operation, lab: Lab, store: ObjectStore) -> None:
    """What is there is right; what was interrupted is done, once; and life goes on."""
    before, after = sorted(operation.before), sorted(operation.after)
    assert sorted(assert_sound(lab).values()) in (before, after)
    operation.repeat(lab)
    assert sorted(assert_sound(lab).values()) == after
    assert_goes_on(lab, store)


def assert_sound(lab: Lab) -> dict[str, bytes]:
    """All backups, of which verification finds each one sound."""
    lab.repository = lab.opened()
    found = contents(lab)
    report = verified(lab.repository)
    assert not report.damaged, report
    assert report.backups == len(found)
    return found


def assert_goes_on(lab: Lab, store: ObjectStore) -> None:
    """The next backup succeeds; a collection takes all that nothing names; nothing gets lost."""
    before = contents(lab)
    parents = list(lab.repository.manifests())
    following = lab.back_up(NEXT, parents[-1].images[0] if parents else None)
    lab.repository.collect(lab.index)
    again = lab.repository.collect(lab.index)

    assert again.packs_deleted == again.backups_purged == 0
    assert assert_sound(lab) == {**before, following.backup_id: NEXT}
    assert list(leftovers(store)) == []


def leftovers(store: ObjectStore) -> Iterator[str]:
    """Temporary files of a store in a folder."""
    if isinstance(store, FolderStore):
        yield from (each.name for each in (store._root / "_tmp").iterdir())


# --- a copy, and a verification that keeps what it finds ------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("again", [False, True], ids=["first copy", "second copy"])
def test_at_every_call_of_a_copy(memory: Path, way: Way, *, again: bool, encrypted: bool) -> None:
    source, begun = MemoryStore(), Ground.new(memory / "begun", way)
    with process(source, begun.folder, 1, encrypted=encrypted) as lab:
        old = lab.back_up(OLD)
        if again:
            copy_all(source, begun.store)
            lab.back_up(NEW, old.images[0])
            lab.repository.delete(old.key, old.backup_id, deleted_at=START)
            lab.repository.collect(lab.index)
    at_source = [NEW] if again else [OLD]
    whole = [[], [OLD], [NEW], sorted([OLD, NEW])] if again else [[OLD]]

    for left in left_by_deaths(begun, way, lambda store, _: copy_all(source, store)):
        if CONFIG_KEY in objects(left.store):
            with process(left.store, left.folder, 2, encrypted=encrypted) as lab:
                assert sorted(assert_sound(lab).values()) in whole
        copy_all(source, left.store)
        assert objects(source).items() <= objects(left.store).items()
        for store in (source, left.store):
            with process(store, left.folder, 3, encrypted=encrypted) as lab:
                assert list(assert_sound(lab).values()) == at_source
        with process(left.store, left.folder, 4, encrypted=encrypted) as lab:
            assert_goes_on(lab, left.store)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(
    ("known", "there"),
    [((), (0,)), ((0,), (0, 1)), ((0,), ())],
    ids=["first damage", "more damage", "healed"],
)
def test_at_every_call_of_a_verification(
    memory: Path, way: Way, known: Slots, there: Slots, *, encrypted: bool
) -> None:
    begun = Ground.new(memory / "begun", way)
    with process(begun.store, begun.folder, 1, encrypted=encrypted) as lab:
        old = lab.back_up(OLD)
        lab.back_up(NEW, old.images[0])
        first = next(iter(lab.repository.reader(old.images[0]).fetches()))
        key = pack_key(first.pack_id)
        good = begun.store.get(key)
        begun.store.replace(key, flipped(good, known))
        assert verified(lab.repository).damaged == bool(known)
        begun.store.replace(key, flipped(good, there))
    before, after = (
        Damage({first.pack_id: frozenset(slots)}) if slots else NO_DAMAGE
        for slots in (known, there)
    )

    def act(store: ObjectStore, folder: Path) -> None:
        with process(store, folder, 2, encrypted=encrypted) as lab:
            verified(lab.repository)

    for left in left_by_deaths(begun, way, act):
        assert known_damage(left.store) in (before, after)
        with process(left.store, left.folder, 3, encrypted=encrypted) as lab:
            report = verified(lab.repository)
            assert [each.manifest.key for each in report.images] == ([old.key] if there else [])
            assert known_damage(left.store) == after
            newest = [each for each in lab.repository.manifests() if each.key != old.key]
            assert [lab.restored(each) for each in newest] == [NEW]
            assert lab.restored(lab.back_up(OLD, newest[0].images[0])) == OLD


def flipped(pack: bytes, slots: Slots) -> bytes:
    """The pack with a bit flipped in each of these blocks, which do not compress."""
    data = bytearray(pack)
    for slot in slots:
        data[1000 + slot * BLOCK_SIZE] ^= 1
    return bytes(data)


def copy_all(source: ObjectStore, target: ObjectStore) -> None:
    mirror(
        Mirror(
            source=source,
            target=target,
            source_name="the source",
            target_name="the target",
            progress=lambda _: None,
            cancelled=lambda: False,
        )
    )

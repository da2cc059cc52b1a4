"""Operations that die at a call to the store, and what must hold afterwards.

Who dies (`Death`), where in the call (`Place`), and at which call are chosen by the tests; an
operation is prepared by one process, carried out by a second one, which dies, and repeated by a
third.
"""

from __future__ import annotations

import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from blake3 import blake3

from csbs.domain.errors import CsbsError
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import (
    EVERYTHING,
    BackupWriter,
    Repository,
    Rotation,
    VerifyReport,
    VerifyWatch,
)
from csbs.repository.objectstore import FolderStore, MemoryStore, ObjectStore
from csbs.repository.objectstore.reserve import RESERVE_SIZE
from csbs.testing.faults import Crash, CrashingStore, Death
from csbs.testing.repositories import START, Lab, noise, write_image
from csbs.testing.torn_folder import Tear, TornFolder

OLD = noise(1, 6 * BLOCK_SIZE)
#: Three blocks differ, and the disk has grown.
NEW = noise(2, 3 * BLOCK_SIZE) + OLD[3 * BLOCK_SIZE :] + noise(4, BLOCK_SIZE + 512)
NEXT = noise(3, 2 * BLOCK_SIZE) + OLD[2 * BLOCK_SIZE :]

WATCH = VerifyWatch(progress=lambda _: None, cancelled=lambda: False)

#: The backup that is under way when something dies, and the one that a user makes then.
DYING_ID = "aaaaaaaa-0000-4000-8000-000000000001"
RETRIED_ID = "aaaaaaaa-0000-4000-8000-000000000002"


@dataclass(frozen=True)
class Place:
    """Where in a call it dies, and in what kind of store."""

    after_effect: bool
    tear: Tear | None = None

    def __str__(self) -> str:
        """For the names of tests."""
        if self.tear is not None:
            return self.tear.value
        return "after" if self.after_effect else "before"


@dataclass(frozen=True)
class Way:
    """One way to die."""

    place: Place
    death: Death

    def __str__(self) -> str:
        """For the names of tests."""
        return f"{self.death.value} dies {self.place}"


#: Who lives on is told of it by an error, which comes before or after the effect.
WAYS = [
    *(Way(Place(after_effect=after), death) for death in Death for after in (False, True)),
    *(Way(Place(after_effect=True, tear=tear), Death.PROCESS) for tear in Tear),
]


@dataclass(frozen=True)
class Ground:
    """A store in memory or in a folder, and the folder of the processes that use it."""

    store: MemoryStore | FolderStore
    folder: Path

    @staticmethod
    def new(folder: Path, way: Way) -> Ground:
        """An empty store in which one can die that way."""
        folder.mkdir()
        in_memory = way.place.tear is None
        return Ground(MemoryStore() if in_memory else _folder_store(folder), folder)

    def copied(self, to: Path) -> Ground:
        """The same another time, in a new folder."""
        shutil.copytree(self.folder, to, ignore=shutil.ignore_patterns("_reserve"))
        if isinstance(self.store, FolderStore):
            return Ground(_folder_store(to), to)
        copy = MemoryStore()
        for key, data in objects(self.store).items():
            copy.put(key, [data])
        return Ground(copy, to)

    @property
    def state(self) -> bytes:
        """Stands for all that is there: objects, keys, index, and temporary files."""
        hasher = blake3()
        for key, data in objects(self.store).items():
            hasher.update(key.encode())
            hasher.update(data)
        for path in sorted([*self.folder.glob("*.key"), *self.folder.glob("store/_tmp/*")]):
            hasher.update(path.read_bytes())
        with closing(sqlite3.connect(self.folder / "index.sqlite")) as index:
            hasher.update("".join(index.iterdump()).encode())
        return hasher.digest()


def _folder_store(folder: Path) -> FolderStore:
    """With a reserve that takes no space: it is not what dies here."""
    root = folder / "store"
    root.mkdir(exist_ok=True)
    with (root / "_reserve").open("wb") as reserve:
        reserve.truncate(RESERVE_SIZE)
    store = FolderStore(root, min_free=lambda _: 0)
    store.make()
    return store


def left_by_deaths(
    begun: Ground, way: Way, act: Callable[[ObjectStore, Path], None]
) -> Iterator[Ground]:
    """What is there after `act` met its death at the first call, the second, and so on.

    The last one met none.  Many calls change nothing: what was yielded before is left out.
    """
    seen: set[bytes] = set()
    for crash_at in count():
        left = begun.copied(begun.folder.with_name(str(crash_at)))
        crashing = _crashing(left.store, way, crash_at)
        with suppress(Crash, CsbsError):
            act(crashing, left.folder)
        state = left.state
        if state not in seen:
            seen.add(state)
            yield left
        if not crashing.crashed:
            break
    assert len(seen) > 1, "it changed something"


def _crashing(store: MemoryStore | FolderStore, way: Way, crash_at: int) -> CrashingStore:
    place = way.place
    if place.tear is None:
        return CrashingStore(
            store, crash_at=crash_at, after_effect=place.after_effect, death=way.death
        )
    assert isinstance(store, FolderStore)
    torn = TornFolder(store, place.tear, is_dying=lambda: crashing.crashed)
    crashing = CrashingStore(torn, crash_at=crash_at, after_effect=True, writes_only=True)
    return crashing


@contextmanager
def process(store: ObjectStore, folder: Path, seed: int, *, encrypted: bool) -> Iterator[Lab]:
    """What one process has of the repository."""
    lab = Lab(store, folder, seed=seed, encrypted=encrypted)
    try:
        yield lab
    finally:
        lab.close()


def objects(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key) for info in store.list("")}


def verified(repository: Repository) -> VerifyReport:
    return repository.verify(EVERYTHING, found_at=START, watch=WATCH)


def contents(lab: Lab) -> dict[str, bytes]:
    """The bytes of all backups that there are, by their ids; each has one manifest."""
    found: dict[str, bytes] = {}
    for manifest in lab.repository.manifests():
        assert manifest.backup_id not in found, "two manifests of one backup"
        found[manifest.backup_id] = lab.restored(manifest)
    return found


def stored_bytes(store: ObjectStore) -> int:
    return sum(each.size_bytes for each in store.list("packs/"))


class Operation(ABC):
    """What may be interrupted."""

    #: Whether it is done in encrypted repositories only.
    encrypted_only = False

    @property
    def makes_repository(self) -> bool:
        """Whether there is none before."""
        return False

    @abstractmethod
    def prepare(self, lab: Lab) -> None:
        """What is there before."""

    @abstractmethod
    def carry_out(self, lab: Lab) -> None:
        """By the process that dies; cleans up as the product does where it is told of an error."""

    @abstractmethod
    def repeat(self, lab: Lab) -> None:
        """By the process that comes after it; succeeds."""

    @property
    @abstractmethod
    def before(self) -> Sequence[bytes]:
        """The backups that are there whatever dies, or that may be there until it is repeated."""

    @property
    @abstractmethod
    def after(self) -> Sequence[bytes]:
        """The backups when it is done."""


class MakeBackup(Operation):
    """The first backup of all, which makes the repository too, or an increment."""

    def __init__(self, *, first: bool) -> None:
        self._first = first

    @property
    def makes_repository(self) -> bool:
        return self._first

    def prepare(self, lab: Lab) -> None:
        lab.back_up(OLD)

    def carry_out(self, lab: Lab) -> None:
        writer = self._begin(lab, DYING_ID)
        try:
            self._write(lab, writer)
        except CsbsError:
            committed = not writer.abort()  # may raise: then nobody is told anything
            assert isinstance(lab.store, CrashingStore)
            living = lab.opened(lab.store._inner)
            assert committed == (DYING_ID in {each.backup_id for each in living.manifests()})
            raise

    def repeat(self, lab: Lab) -> None:
        key = lab.repository.manifest_key(DYING_ID, START)
        if lab.repository.fence(key, DYING_ID):
            self._write(lab, self._begin(lab, RETRIED_ID))

    @property
    def before(self) -> Sequence[bytes]:
        return [] if self._first else [OLD]

    @property
    def after(self) -> Sequence[bytes]:
        return [*self.before, NEW]

    def _begin(self, lab: Lab, backup_id: str) -> BackupWriter:
        return lab.repository.begin(
            backup_id, started_at=START, index=lab.index, pack_size=4 * BLOCK_SIZE
        )

    def _write(self, lab: Lab, writer: BackupWriter) -> None:
        parents = [each for each in lab.repository.manifests() if each.backup_id != DYING_ID]
        blocks = {n: NEW[n * BLOCK_SIZE : (n + 1) * BLOCK_SIZE] for n in range(8)}
        write_image(writer, len(NEW), blocks, parents[0].images[0] if parents else None)
        writer.commit(created_at=START, facts={})


class Delete(Operation):
    """The deletion of the parent of another backup."""

    def prepare(self, lab: Lab) -> None:
        lab.back_up(NEW, lab.back_up(OLD).images[0])

    def carry_out(self, lab: Lab) -> None:
        for manifest in list(lab.repository.manifests()):
            if manifest.images[0].size_bytes == len(OLD):
                lab.repository.delete(manifest.key, manifest.backup_id, deleted_at=START)

    def repeat(self, lab: Lab) -> None:
        self.carry_out(lab)

    @property
    def before(self) -> Sequence[bytes]:
        return [OLD, NEW]

    @property
    def after(self) -> Sequence[bytes]:
        return [NEW]


class Collect(Operation):
    """A collection of a deleted backup, and of one that was given up."""

    def prepare(self, lab: Lab) -> None:
        first = lab.back_up(OLD)
        lab.back_up(NEW, first.images[0])
        lab.repository.delete(first.key, first.backup_id, deleted_at=START)
        given_up = lab.begin()
        write_image(given_up, len(NEXT), {n: noise(90 + n) for n in range(6)})
        given_up.abort()

    def carry_out(self, lab: Lab) -> None:
        lab.repository.collect(lab.index)

    def repeat(self, lab: Lab) -> None:
        lab.repository.collect(lab.index)

    @property
    def before(self) -> Sequence[bytes]:
        return self.after

    @property
    def after(self) -> Sequence[bytes]:
        return [NEW]


class Rotate(Operation):
    """The rotation of a key."""

    encrypted_only = True

    def __init__(self, what: Rotation) -> None:
        self._what = what

    def prepare(self, lab: Lab) -> None:
        lab.back_up(NEW, lab.back_up(OLD).images[0])

    def carry_out(self, lab: Lab) -> None:
        lab.repository.rotate_key(self._what)

    def repeat(self, lab: Lab) -> None:
        lab.repository.rotate_key(self._what)
        lab.repository = lab.opened()

    @property
    def before(self) -> Sequence[bytes]:
        return self.after

    @property
    def after(self) -> Sequence[bytes]:
        return [OLD, NEW]


OPERATIONS: dict[str, Operation] = {
    "first backup": MakeBackup(first=True),
    "increment": MakeBackup(first=False),
    "deletion": Delete(),
    "collection": Collect(),
    **{f"rotation of the {what} key": Rotate(what) for what in Rotation},
}

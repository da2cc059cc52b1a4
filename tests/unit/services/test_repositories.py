"""A collection stops soon after it is told to, wherever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from csbs.repository import ContentIndex
from csbs.repository.objectstore import MemoryStore, ObjectStore
from csbs.repository.objectstore.around import AroundStore
from csbs.repository.objectstore.base import ObjectInfo
from csbs.services.repositories import RepositoryAccess, StillHeld
from csbs.testing.repositories import START, Lab, noise

T = TypeVar("T")

#: Of each kind of object; more than a collection does to one of them.
MANY = 16


class Unlocked:
    """Nobody else is there."""

    @contextmanager
    def shared(self, doing: str) -> Iterator[StillHeld]:
        del doing
        yield lambda: None

    exclusive = shared


class AskingStore(AroundStore):
    """Counts its calls, and objects that it lists, since `asked` was called last."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self._count = self.most = 0

    def asked(self) -> bool:
        """Whether to stop: no."""
        self._count = 0
        return False

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for each in self._inner.list(prefix):
            self._count_one()
            yield each

    def _call(self, method: str, key: str, do: Callable[[], T]) -> T:
        del method, key
        self._count_one()
        return do()

    def _count_one(self) -> None:
        self._count += 1
        self.most = max(self.most, self._count)


def test_a_collection_asks_all_the_time_whether_to_stop(tmp_path: Path) -> None:
    """Whatever is many: backups, those that were deleted, voids, packs that stay, and that go."""
    lab = Lab(MemoryStore(), tmp_path)
    for deleted in range(2):
        made = [lab.back_up(noise(deleted * MANY + number)) for number in range(MANY)]
        for each in made:
            lab.repository.delete(each.key, each.backup_id, deleted_at=START)
        if deleted == 0:
            lab.repository.collect(lab.index)
    for number in range(MANY):
        lab.back_up(noise(2 * MANY + number))
    lab.close()
    store = AskingStore(lab.store)
    access = RepositoryAccess(
        lock=Unlocked(),
        open_repository=lambda _: lab.opened(store),
        open_store=lambda _: store,
        open_index=lambda _: ContentIndex(lab.index_path),
        restorable_keys=list,
    )

    report = access.collect(lambda _: None, stopped=store.asked)

    assert report.backups_purged == MANY
    assert min(report.packs_deleted, report.kept_packs) >= MANY
    assert store.most < MANY

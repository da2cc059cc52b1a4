"""One repository: what it holds, and who writes, reads and collects it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from csbs.domain.clock import Clock, Monotonic, NewId, monotonic
from csbs.repository import difference as differences
from csbs.repository.collect import CollectParts, CollectProgress, CollectReport, collect
from csbs.repository.content_index import ContentIndex
from csbs.repository.errors import CorruptObject
from csbs.repository.identity import (
    Config,
    Owner,
    Successor,
    new_config,
    open_config,
    open_owner,
    require_owner,
    take_over,
)
from csbs.repository.manifest import Image, Manifest, ManifestKeys
from csbs.repository.manifest_store import ManifestStore, manifest_key
from csbs.repository.marks import named_blocks
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.pack_reader import PackReader
from csbs.repository.pack_writer import PACK_SIZE
from csbs.repository.reader import ImageReader
from csbs.repository.writer import BackupWriter, WriterParts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What `open` found out."""

    name: str
    catalog_id: str
    config: Config
    owner: Owner
    new_id: NewId


class Repository:
    """Backups in an object store; may be used by several threads.

    All methods raise what the store raises; those that read maps or blocks raise `MissingPack` and
    `CorruptObject`.
    """

    def __init__(self, store: ObjectStore, opened: _Opened) -> None:
        self.name = opened.name
        self._store = store
        self._opened = opened
        self._keys = ManifestKeys(opened.config.repository_id, opened.config.mac_key)
        self._manifests = ManifestStore(store, self._keys, opened.owner.counts)
        self._packs = PackReader(store, opened.config.digest_key)

    @staticmethod
    def open(
        store: ObjectStore, *, name: str, catalog_id: str, clock: Clock, new_id: NewId
    ) -> Repository:
        """The repository in `store`, made if there is none; `name` is for errors.

        One that another catalog owns can be opened and read.  Raises `RepositoryTooNew`, and
        `CorruptObject` if its config or owner is damaged or gone.
        """
        config = open_config(store, name, new_config(clock(), new_id))
        owner = open_owner(store, catalog_id, clock())
        opened = _Opened(
            name=name, catalog_id=catalog_id, config=config, owner=owner, new_id=new_id
        )
        return Repository(store, opened)

    def require_owner(self) -> None:
        """Raises `RepositoryOwned` unless this catalog is the last owner, asked anew."""
        require_owner(self._store, self.name, self._opened.owner, self._opened.catalog_id)

    @property
    def owned(self) -> bool:
        """Whether this catalog was the owner when the repository was opened; else it may read."""
        return self._opened.owner.catalog_id == self._opened.catalog_id

    def take_over(self, at: datetime) -> Repository:
        """The same repository, owned by this catalog from now on; the former owner may only read.

        Its manifests that are there count, and what it commits later does not.  Its writers must
        have ended, or they fail.  Raises `RepositoryOwned` if a third catalog was faster.
        """
        successor = Successor(self._opened.catalog_id, at)
        owner = take_over(self._store, self.name, successor, self._counting)
        return Repository(self._store, replace(self._opened, owner=owner))

    def _counting(self, owner: Owner, known: frozenset[str]) -> frozenset[str]:
        return frozenset(
            self._manifests.present(lambda key: key not in known and owner.counts(key))
        )

    # --- backups -----------------------------------------------------------------------------

    def begin(
        self,
        backup_id: str,
        *,
        started_at: datetime,
        index: ContentIndex,
        pack_size: int = PACK_SIZE,
        monotonic: Monotonic = monotonic,
    ) -> BackupWriter:
        """Begins a backup; its manifest will have `manifest_key(backup_id, started_at)`.

        A pack is put when its frames have `pack_size` bytes.
        Raises `RepositoryOwned`.
        """
        self.require_owner()
        parts = WriterParts(
            store=self._store,
            packs=self._packs,
            manifests=self._manifests,
            keys=self._keys,
            index=index,
            new_id=self._opened.new_id,
            require_owner=self.require_owner,
            pack_size=pack_size,
            monotonic=monotonic,
        )
        return BackupWriter(
            parts,
            key=self.manifest_key(backup_id, started_at),
            backup_id=backup_id,
            owner=self._opened.owner.number,
        )

    def manifest_key(self, backup_id: str, started_at: datetime) -> str:
        """The key of the manifest of a backup that began then; the same at each call."""
        return manifest_key(self._opened.owner.number, backup_id, started_at)

    def manifests(self) -> Iterator[Manifest]:
        """All backups that are committed and not deleted, in the order of their keys."""
        return self._manifests.live()

    def survey(self) -> Iterator[tuple[str, Manifest | CorruptObject]]:
        """Like `manifests`, by key, with the error in the place of one that is damaged."""
        return self._manifests.survey()

    def uncounted(self) -> list[str]:
        """Keys of manifests that a former owner committed after it was one: they are no backups."""
        return list(self._manifests.present(lambda key: not self._opened.owner.counts(key)))

    def manifest(self, key: str) -> Manifest:
        """The backup under this key.  Raises `BackupMissing` if it is absent, void or deleted."""
        return self._manifests.get(key)

    def fence(self, key: str, backup_id: str) -> bool:
        """Makes sure that the backup is never committed; False: it was already.

        May be repeated.  Works in a full store.  Raises `RepositoryOwned`.
        """
        self.require_owner()
        return self._manifests.fence(key, backup_id)

    def delete(self, key: str, backup_id: str, *, deleted_at: datetime) -> None:
        """Deletes the backup: for all readers it is gone when this returns.

        May be repeated.  Works in a full store; the space is freed by `collect`.
        Raises `BackupMissing` where there never was one, and `RepositoryOwned`.
        """
        self.require_owner()
        self._manifests.delete(key, backup_id, deleted_at)

    # --- bytes -------------------------------------------------------------------------------

    def reader(self, image: Image) -> ImageReader:
        """Reads the bytes of an image."""
        return ImageReader(self._packs, image)

    def difference(self, before: Image | None, after: Image) -> int:
        """Blocks stored in `after` whose address differs from `before`'s; all without `before`."""
        return differences.difference(self._packs, before, after)

    def differing_runs(self, before: Image, after: Image) -> Iterator[tuple[int, int]]:
        """Half-open runs of blocks, ascending, in which two images of one size may differ."""
        return differences.differing_runs(self._packs, before, after)

    # --- upkeep ------------------------------------------------------------------------------

    def collect(
        self,
        index: ContentIndex,
        *,
        progress: Callable[[CollectProgress], None] | None = None,
    ) -> CollectReport:
        """Frees what no live backup names.  The caller holds the exclusive lock.

        Raises `RepositoryOwned`, also in the middle of it; if the map of a live backup cannot be
        read, nothing is freed.
        """
        self.require_owner()
        return collect(
            CollectParts(
                store=self._store,
                packs=self._packs,
                manifests=self._manifests,
                index=index,
                require_owner=self.require_owner,
                progress=progress or _ignore,
            )
        )

    def rebuild_index(self, index: ContentIndex) -> None:
        """Fills a content index anew with the blocks that backups name, and with no other.

        What nobody names may be about to go: a former owner that has not noticed yet collects it.
        Damaged manifests, maps and packs are left out.
        """
        index.rebuild(named_blocks(self._packs, self._images()))

    def _images(self) -> Iterator[Image]:
        for _, found in self._manifests.survey():
            if isinstance(found, Manifest):
                yield from found.images


def _ignore(progress: CollectProgress) -> None:
    del progress

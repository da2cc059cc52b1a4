"""One repository: what it holds, and who writes, reads and collects it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from csbs.domain.clock import Clock, Monotonic, NewId, monotonic
from csbs.domain.errors import Denied, Unavailable
from csbs.repository import difference as differences
from csbs.repository.collect import CollectParts, CollectProgress, CollectReport, collect
from csbs.repository.content_index import ContentIndex
from csbs.repository.damage import Damage, keep_damage, known_damage
from csbs.repository.damaged_runs import DamagedRuns
from csbs.repository.errors import CorruptObject, MissingPack, RepositoryOwned
from csbs.repository.identity import (
    Config,
    Owner,
    new_config,
    open_config,
    open_owner,
    require_owner,
)
from csbs.repository.loss import OnLoss
from csbs.repository.manifest import Image, Manifest, ManifestKeys
from csbs.repository.manifest_store import ManifestStore, manifest_key
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.pack import PACK_KEY, Kind
from csbs.repository.pack_reader import PackReader
from csbs.repository.pack_writer import PACK_SIZE
from csbs.repository.reader import ImageReader
from csbs.repository.share import Share
from csbs.repository.verify import verify
from csbs.repository.verify_report import VerifyParts, VerifyReport, VerifyWatch
from csbs.repository.writer import BackupWriter, WriterParts

log = logging.getLogger(__name__)


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
        self._manifests = ManifestStore(store, self._keys)
        self._packs = PackReader(store, opened.config.digest_key)
        self._packs.damage = known_damage(store)

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
        require_owner(self._store, self.name, self._opened.catalog_id)

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

    def manifest(self, key: str) -> Manifest:
        """The backup under this key.  Raises `BackupMissing` if it is absent, void or deleted."""
        return self._manifests.get(key)

    def fence(self, key: str, backup_id: str) -> bool:
        """Makes sure that the backup is never committed; False: it was already.

        May be repeated.  Works in a full store.
        """
        return self._manifests.fence(key, backup_id)

    def delete(self, key: str, backup_id: str, *, deleted_at: datetime) -> None:
        """Deletes the backup: for all readers it is gone when this returns.

        May be repeated.  Works in a full store; the space is freed by `collect`.
        Raises `BackupMissing` where there never was one.
        """
        self._manifests.delete(key, backup_id, deleted_at)

    # --- bytes -------------------------------------------------------------------------------

    def reader(self, image: Image, on_loss: OnLoss | None = None) -> ImageReader:
        """Reads the bytes of an image; `on_loss` is told of what is damaged, and may raise."""
        return ImageReader(self._packs, image, on_loss)

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

        Raises `RepositoryOwned`; if the map of a live backup cannot be read, nothing is freed.
        """
        self.require_owner()
        return collect(
            CollectParts(
                store=self._store,
                packs=self._packs,
                manifests=self._manifests,
                index=index,
                progress=progress or _ignore,
            )
        )

    def verify(
        self,
        share: Share | None,
        *,
        found_at: datetime,
        watch: VerifyWatch,
    ) -> VerifyReport:
        """Verifies the structure of the repository, and all bytes of the packs of `share`.

        What is found damaged is kept, if this catalog may write: from then on no backup names it.
        The caller holds the shared lock.  Raises `OperationCancelled`.
        """

        def keep(damage: Damage, before: Damage) -> bool:
            latest = known_damage(self._store)
            if latest != before:  # who found something meanwhile is not overruled
                damage = damage.union(latest)
            return self._keep(damage, found_at)

        parts = VerifyParts(
            name=self.name,
            store=self._store,
            packs=self._packs,
            manifests=self._manifests,
            watch=watch,
        )
        return verify(parts, share, keep)

    def doubt(self, damage: Damage, *, found_at: datetime) -> bool:
        """From now on this is known to be damaged too; False: it could not be kept."""
        known = known_damage(self._store)
        more = known.union(damage)
        return more == known or self._keep(more, found_at)

    @property
    def damage_known(self) -> str:
        """Stands for what is known to be damaged; empty where nothing is."""
        return self._packs.damage.fingerprint

    def damaged_runs(self, image: Image) -> Iterator[tuple[int, int]]:
        """Half-open runs of blocks, ascending, that are known to be damaged; may touch.

        Walks the whole map if anything in the repository is known to be damaged, else nothing.
        """
        if self._packs.damage:
            yield from DamagedRuns(self._packs, self._packs.damage).of(image)

    def _keep(self, damage: Damage, found_at: datetime) -> bool:
        self._packs.damage = damage
        try:
            self.require_owner()
            keep_damage(self._store, damage, found_at)
        except (RepositoryOwned, Denied, Unavailable) as error:
            log.warning("what was found damaged is not kept", extra={"why": str(error)})
            return False
        return True

    def rebuild_index(self, index: ContentIndex) -> None:
        """Fills a lost content index from the footers of all packs; damaged ones are left out."""
        index.rebuild(self._block_digests())

    def _block_digests(self) -> Iterator[tuple[bytes, list[bytes]]]:
        for each in self._store.list("packs/"):
            match = PACK_KEY.fullmatch(each.key)
            if match is None:
                continue
            pack_id = bytes.fromhex(match[2])
            try:
                footer = self._packs.footer(pack_id)
            except (MissingPack, CorruptObject):
                continue
            if len(footer.kinds) and footer.kinds[0] == Kind.BLOCK:
                yield pack_id, [footer.digest(i) for i in range(len(footer.slots))]


def _ignore(progress: CollectProgress) -> None:
    del progress

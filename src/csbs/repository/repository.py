"""One repository: what it holds, and who writes, reads and collects it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from csbs.domain.clock import Clock, Monotonic, NewId, monotonic
from csbs.domain.errors import Denied, OperationCancelled, Unavailable
from csbs.repository import difference as differences
from csbs.repository import text_object
from csbs.repository.collect import CollectParts, CollectProgress, CollectReport, collect
from csbs.repository.content_index import ContentIndex
from csbs.repository.damage import Damage, keep_damage, known_damage
from csbs.repository.damaged_runs import DamagedRuns
from csbs.repository.errors import (
    BackupMissing,
    CorruptObject,
    MissingPack,
    OtherConfig,
    RepositoryNotEncrypted,
    RepositoryOwned,
)
from csbs.repository.identity import (
    Config,
    Owner,
    Successor,
    open_owner,
    require_owner,
    require_owner_of_all,
    take_over,
)
from csbs.repository.key_ring import KeyRing
from csbs.repository.loss import OnLoss
from csbs.repository.manifest import Image, Manifest
from csbs.repository.manifest_store import ManifestStore, go_on, manifest_key
from csbs.repository.marks import Marks, named_blocks
from csbs.repository.mend import mend
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.pack import pack_key
from csbs.repository.pack_reader import PackReader
from csbs.repository.pack_writer import PACK_SIZE
from csbs.repository.reader import ImageReader
from csbs.repository.rotate import KeyRotation, Rotation
from csbs.repository.share import Share
from csbs.repository.unlock import Encryption, RepositoryKeys, open_keys
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
    keys: RepositoryKeys
    owner: Owner
    clock: Clock
    new_id: NewId
    encryption: Encryption | None


class Repository:
    """Backups in an object store; may be used by several threads.

    All methods raise what the store raises; those that read maps or blocks raise `MissingPack` and
    `CorruptObject`.
    """

    def __init__(self, store: ObjectStore, opened: _Opened) -> None:
        self.name = opened.name
        self._store = store
        self._opened = opened
        self._manifests = ManifestStore(store, opened.keys.manifests, opened.owner.counts)
        self._packs = PackReader(store, opened.keys.digest_key, data_keys=opened.keys.data)
        self._packs.damage = known_damage(store)
        self._require_lock: Callable[[], None] = lambda: None

    @staticmethod
    def open(  # noqa: PLR0913  all that makes it this repository
        store: ObjectStore,
        *,
        name: str,
        catalog_id: str,
        clock: Clock,
        new_id: NewId,
        encryption: Encryption | None = None,
    ) -> Repository:
        """The repository in `store`, made if there is none; `name` is for errors.

        One that another catalog owns can be opened and read.  Without `encryption` only plain
        ones are made and opened.  Raises `RepositoryTooNew`, `CorruptObject` if its config, keys
        or owner are damaged or gone, `KeyMissing`, `WrongKey` and `KeyFileUnusable`.
        """
        config, keys = open_keys(store, name, encryption, clock(), new_id)
        opened = _Opened(
            name=name,
            catalog_id=catalog_id,
            config=config,
            keys=keys,
            owner=open_owner(store, catalog_id, clock()),
            clock=clock,
            new_id=new_id,
            encryption=encryption,
        )
        return Repository(store, opened)

    def rely_on(self, still_held: Callable[[], None]) -> None:
        """From now on nothing is committed or removed before `still_held` was asked.

        It raises if the lock is lost that the caller holds, as `collect` and `begin` want it.
        """
        self._require_lock = still_held

    def require_owner(self) -> None:
        """Raises `RepositoryOwned` unless this catalog is the last owner, asked anew.

        Raises also what says that the caller's lock is lost; see `rely_on`.
        """
        self._require_lock()
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
        taken = Repository(self._store, replace(self._opened, owner=owner))
        taken.rely_on(self._require_lock)
        return taken

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
        Raises `RepositoryOwned`, and `RepositoryNotEncrypted` where only encryption is wanted.
        """
        self.require_owner()
        encryption = self._opened.encryption
        if encryption is not None and encryption.wanted and self._opened.keys.data is None:
            raise RepositoryNotEncrypted(self.name)
        parts = WriterParts(
            store=self._store,
            packs=self._packs,
            manifests=self._manifests,
            keys=self._opened.keys.manifests,
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

    def manifests(self, check: Callable[[], None] = go_on) -> Iterator[Manifest]:
        """All backups that are committed and not deleted, in the order of their keys.

        `check` is called before each object is looked at; what it raises ends that.
        """
        return self._manifests.live(check)

    def survey(self) -> Iterator[tuple[str, Manifest | CorruptObject]]:
        """Like `manifests`, by key, with the error in the place of one that is damaged."""
        return self._manifests.survey()

    def require_config_of(self, keys: Iterable[str]) -> None:
        """Raises `OtherConfig` if one of these damaged manifests says it is of another repository.

        For when none can be read: then it is the config that is wrong, not all of them.
        """
        for key in keys:
            stated_id = text_object.stated(self._store.get(key), "repository_id")
            if stated_id not in ("", self._opened.config.repository_id):
                raise OtherConfig(self.name, key, stated_id)

    def uncounted(self) -> list[str]:
        """Keys of manifests that a former owner committed after it was one: they are no backups."""
        return list(self._manifests.present(lambda key: not self._opened.owner.counts(key)))

    def manifest(self, key: str) -> Manifest:
        """The backup under this key.  Raises `BackupMissing` if it is absent, void or deleted."""
        return self._manifests.get(key)

    def is_whole(self, key: str) -> bool:
        """Whether all packs are there that the backup under this key names; walks its maps."""
        marks = Marks(self._packs)
        try:
            for image in self.manifest(key).images:
                marks.add(image)
        except (BackupMissing, MissingPack):
            return False
        there = {each.key for each in self._store.list("packs/")}
        return all(pack_key(pack_id) in there for pack_id in marks.pack_ids() if marks.has(pack_id))

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
        stopped: Callable[[], bool] = lambda: False,
    ) -> CollectReport:
        """Frees what no live backup names.  The caller holds the exclusive lock.

        Raises `OperationCancelled` soon after `stopped` says so: what was done is done, and the
        next collection goes on with the rest.  Raises `RepositoryOwned`, also in the middle of it;
        if the map of a live backup cannot be read, or backups tell of a later owner than there is,
        nothing is freed.
        """

        def check() -> None:
            if stopped():
                raise OperationCancelled("the collection")

        self.require_owner()
        require_owner_of_all(self._store, check)
        return collect(
            CollectParts(
                store=self._store,
                packs=self._packs,
                manifests=self._manifests,
                index=index,
                require_owner=self.require_owner,
                progress=progress or _ignore,
                check=check,
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
        Small objects of which all is known by others are put back.
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
        report = verify(parts, share, keep)
        return replace(report, mended=self._mended(report, found_at))

    def _mended(self, report: VerifyReport, found_at: datetime) -> tuple[str, ...]:
        damaged = [each.key for each in report.objects]
        mended: list[str] = []
        try:
            self.require_owner()
            for key in mend(self._store, self._manifests, report.put_back, damaged, found_at):
                mended.append(key)  # noqa: PERF402  what is mended stays so, whatever comes next
        except (RepositoryOwned, Denied, Unavailable) as error:
            if damaged:
                log.warning("not all was put back", extra={"why": str(error)})
        return tuple(mended)

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
        """Fills a content index anew with the blocks that backups name, and with no other.

        What nobody names may be about to go: a former owner that has not noticed yet collects it.
        Damaged manifests, maps and packs are left out.
        """
        index.rebuild(named_blocks(self._packs, self._images()))

    def _images(self) -> Iterator[Image]:
        for _, found in self._manifests.survey():
            if isinstance(found, Manifest):
                yield from found.images

    def rotate_key(self, what: Rotation) -> KeyRing:
        """Puts a new key in the place of one; the caller holds the exclusive lock.

        Counts for whoever opens the repository from now on.  A crash leaves the old ring or the
        new one, and keys that open it.  Raises `RepositoryNotEncrypted`, `RepositoryOwned`,
        `KeyRingChanged`, and what opening raises.
        """
        self.require_owner()
        encryption = self._opened.encryption
        if encryption is None or self._opened.keys.data is None:
            raise RepositoryNotEncrypted(self.name)
        source = encryption.source(self._opened.clock(), self._opened.new_id)
        return KeyRotation(self._store, self.name, encryption.files, source).rotate(what)


def _ignore(progress: CollectProgress) -> None:
    del progress

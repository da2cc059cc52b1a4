"""Tags of backups and policies: giving, taking away, finding by them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from csbs.catalog import Catalog, Transaction, backups, policies, tag_lists, tags
from csbs.catalog.tag_lists import OF_BACKUPS, OF_POLICIES, TaggedKind
from csbs.domain.backup import Backup
from csbs.domain.ids import BackupId, PolicyId, ProjectId
from csbs.domain.tags import Tag, TagFilter, TagNotFound, values_by_key, with_tags


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object with its tags."""

    id: str
    name: str
    tags: tuple[Tag, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagService(ABC):
    """What a caller may ask for about the tags of one kind of objects.

    All raise what says that there is no such object of the project.
    """

    catalog: Catalog
    project_id: ProjectId
    #: Whose tags they are.
    kind: TaggedKind

    def of(self, owner: str) -> tuple[Tag, ...]:
        """The object's tags, by key."""
        with self.catalog.transaction() as transaction:
            return self._get(transaction, owner).tags

    def give(self, owner: str, new: Collection[Tag]) -> None:
        """Gives tags; one with a key that is there takes its place.  Raises `TooManyTags`."""
        with self.catalog.transaction() as transaction:
            found = self._get(transaction, owner)
            self._set(transaction, owner, with_tags(found.name, found.tags, new))

    def take(self, owner: str, keys: Collection[str]) -> None:
        """Takes tags away; those that are absent are fine."""
        with self.catalog.transaction() as transaction:
            found = self._get(transaction, owner)
            kept = [tag for tag in found.tags if tag.key not in keys]
            self._set(transaction, owner, kept)

    def take_one(self, owner: str, key: str) -> None:
        """Takes one tag away.  Raises `TagNotFound`."""
        with self.catalog.transaction() as transaction:
            found = self._get(transaction, owner)
            kept = [tag for tag in found.tags if tag.key != key]
            if len(kept) == len(found.tags):
                raise TagNotFound(key, found.name)
            self._set(transaction, owner, kept)

    def in_project(self) -> dict[str, list[str]]:
        """All keys with their values."""
        with self.catalog.reading() as transaction:
            return values_by_key(tag_lists.in_project(transaction, self.project_id, self.kind))

    def count(self, wanted: TagFilter) -> int:
        """How many objects the filter means."""
        with self.catalog.reading() as transaction:
            return tag_lists.count(transaction, self.project_id, self.kind, wanted)

    def matching(self, wanted: TagFilter, *, limit: int, offset: int) -> Sequence[Tagged]:
        """Objects that the filter means, newest first: `limit` of them behind the first ones."""
        with self.catalog.reading() as transaction:
            place = limit, offset
            ids = tag_lists.matching(transaction, self.project_id, self.kind, wanted, place)
            return self._load(transaction, ids)

    @abstractmethod
    def _get(self, transaction: Transaction, owner: str) -> Tagged: ...

    @abstractmethod
    def _load(self, transaction: Transaction, owners: Sequence[str]) -> Sequence[Tagged]: ...

    @abstractmethod
    def _set(self, transaction: Transaction, owner: str, new: Collection[Tag]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupTags(TagService):
    """Tags of backups."""

    kind: TaggedKind = OF_BACKUPS

    def given(self, new: Collection[Tag]) -> Callable[[Transaction, Backup], None]:
        """For `CreateBackup.admit`: the backup has these tags from its begin."""

        def give(transaction: Transaction, backup: Backup) -> None:
            kept = with_tags(backup.name, (), new)
            tags.set_of_backup(transaction, self.project_id, backup.id, kept)

        return give

    def _get(self, transaction: Transaction, owner: str) -> Tagged:
        backup = backups.get(transaction, self.project_id, BackupId(owner))
        return Tagged(
            backup.id, backup.name, tags.of_backup(transaction, self.project_id, backup.id)
        )

    def _load(self, transaction: Transaction, owners: Sequence[str]) -> Sequence[Tagged]:
        ids = [BackupId(each) for each in owners]
        given = tags.of_backups(transaction, self.project_id, ids)
        found = backups.by_ids(transaction, self.project_id, ids)
        return [Tagged(each.id, each.name, given.get(each.id, ())) for each in found]

    def _set(self, transaction: Transaction, owner: str, new: Collection[Tag]) -> None:
        tags.set_of_backup(transaction, self.project_id, BackupId(owner), new)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTags(TagService):
    """Tags of policies."""

    kind: TaggedKind = OF_POLICIES

    def _get(self, transaction: Transaction, owner: str) -> Tagged:
        policy = policies.get(transaction, self.project_id, PolicyId(owner))
        return Tagged(policy.id, policy.name, policy.tags)

    def _load(self, transaction: Transaction, owners: Sequence[str]) -> Sequence[Tagged]:
        ids = [PolicyId(each) for each in owners]
        found = policies.by_ids(transaction, self.project_id, ids)
        return [Tagged(each.id, each.name, each.tags) for each in found]

    def _set(self, transaction: Transaction, owner: str, new: Collection[Tag]) -> None:
        tags.set_of_policy(transaction, self.project_id, PolicyId(owner), new)

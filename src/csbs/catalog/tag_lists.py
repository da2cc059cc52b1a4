"""Finding backups and policies by their tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Table, and_, exists, func, not_, or_, select

from csbs.catalog.catalog import Transaction
from csbs.catalog.listing import Condition, has_part
from csbs.catalog.policy_tables import backup_tags, policies, policy_tags
from csbs.catalog.tables import backups
from csbs.domain.ids import ProjectId
from csbs.domain.tags import PART_OF_VALUE, Tag, TagFilter


@dataclass(frozen=True, slots=True)
class TaggedKind:
    """One kind of objects that have tags."""

    owners: Table
    tags: Table


OF_BACKUPS = TaggedKind(backups, backup_tags)
OF_POLICIES = TaggedKind(policies, policy_tags)


def count(
    transaction: Transaction, project_id: ProjectId, kind: TaggedKind, wanted: TagFilter
) -> int:
    """How many objects the filter means."""
    query = select(func.count()).select_from(kind.owners)
    return int(transaction.scalar(query.where(*_conditions(project_id, kind, wanted))) or 0)


def matching(
    transaction: Transaction,
    project_id: ProjectId,
    kind: TaggedKind,
    wanted: TagFilter,
    place: tuple[int, int],
) -> Sequence[str]:
    """Ids of objects that the filter means, the newest first: so many behind the first so many."""
    limit, offset = place
    return transaction.scalars(
        select(kind.owners.c.id)
        .where(*_conditions(project_id, kind, wanted))
        .order_by(kind.owners.c.created_at.desc(), kind.owners.c.id.desc())
        .limit(limit)
        .offset(offset)
    ).all()


def in_project(transaction: Transaction, project_id: ProjectId, kind: TaggedKind) -> list[Tag]:
    """All tags that objects of the project have, each once."""
    rows = transaction.execute(
        select(kind.tags.c.key, kind.tags.c.value)
        .join(kind.owners)
        .where(kind.owners.c.project_id == project_id)
        .distinct()
    )
    return [Tag(row.key, row.value) for row in rows]


def _conditions(project_id: ProjectId, kind: TaggedKind, wanted: TagFilter) -> Iterator[Condition]:
    yield kind.owners.c.project_id == project_id
    if wanted.name_part:
        yield has_part(kind.owners.c.name, wanted.name_part)
    yield from (_has(kind, *each) for each in wanted.tags.items())
    if wanted.tags_any:
        yield or_(*(_has(kind, *each) for each in wanted.tags_any.items()))
    if wanted.not_tags:
        yield not_(and_(*(_has(kind, *each) for each in wanted.not_tags.items())))
    yield from (not_(_has(kind, *each)) for each in wanted.not_tags_any.items())


def _has(kind: TaggedKind, key: str, values: Sequence[str]) -> Condition:
    """The object has the key, with one of the values, if there are some."""
    owner_id = next(iter(kind.tags.primary_key.columns))
    if not values:  # many have it: each object is looked at
        return exists().where(owner_id == kind.owners.c.id, kind.tags.c.key == key)
    value = or_(*(_is_like(kind, each) for each in values))
    return kind.owners.c.id.in_(select(owner_id).where(kind.tags.c.key == key, value))


def _is_like(kind: TaggedKind, wanted: str) -> Condition:
    if wanted.startswith(PART_OF_VALUE):
        return has_part(kind.tags.c.value, wanted.removeprefix(PART_OF_VALUE))
    return kind.tags.c.value == wanted

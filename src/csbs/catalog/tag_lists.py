"""Finding backups and policies by their tags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Table, and_, func, not_, or_, select, true

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
    yield from _has(kind, wanted.tags)
    if wanted.tags_any:
        yield or_(*_has(kind, wanted.tags_any))
    if wanted.not_tags:
        yield not_(and_(*_has(kind, wanted.not_tags)))
    for each in _has(kind, wanted.not_tags_any):
        yield not_(each)


def _has(kind: TaggedKind, wanted: Mapping[str, Sequence[str]]) -> Iterator[Condition]:
    """For each key: the object has it, with one of the values, if there are some."""
    owner_id = next(iter(kind.tags.primary_key.columns))
    for key, values in wanted.items():
        value = or_(*(_is_like(kind, each) for each in values)) if values else true()
        yield kind.owners.c.id.in_(select(owner_id).where(kind.tags.c.key == key, value))


def _is_like(kind: TaggedKind, wanted: str) -> Condition:
    if wanted.startswith(PART_OF_VALUE):
        return has_part(kind.tags.c.value, wanted.removeprefix(PART_OF_VALUE))
    return kind.tags.c.value == wanted

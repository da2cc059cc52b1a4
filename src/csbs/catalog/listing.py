"""Pages of lists in SQL: sorted, behind a place, so many rows.

The database sorts and cuts, so that a page costs what is on it, where an index has the order.  Both
databases sort texts by code points (`csbs.catalog.tables.text`), as Python does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    Row,
    Select,
    and_,
    false,
    or_,
    select,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Boolean

from csbs.catalog.catalog import Transaction
from csbs.catalog.tables import UtcDateTime
from csbs.domain.ids import ProjectId
from csbs.domain.listing import Listing, MarkerUnknown, Order, Slice

Condition = ColumnElement[bool]


class HasId(Protocol):
    """What lists are made of."""

    @property
    def id(self) -> str:
        """Unique."""


H = TypeVar("H", bound=HasId)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a list is made of."""

    table: FromClause
    #: Unique in the table.
    id: ColumnElement[str]
    #: What all rows of the list fulfil: they are the project's.
    scope: Sequence[Condition]
    #: What it can be sorted by, never null; a key that is not here sorts as equal.
    keys: Mapping[str, ColumnElement[Any]]


def own(column: ColumnElement[str], project_id: ProjectId | None) -> Condition:
    """Rows of the project; None: of all projects, which only administrators may see together."""
    return true() if project_id is None else column == project_id


def page_of_ids(
    transaction: Transaction, source: Source, wanted: Sequence[Condition], listing: Listing
) -> Slice[str]:
    """Ids of what is on the page, in order.

    The marker counts among all rows of the list, wanted or not: what was the last of a page may
    have changed since, and is still the place to go on from.  Raises `MarkerUnknown`.
    """
    order = _columns(source, listing.order)
    query = select(source.id).select_from(source.table).where(*source.scope, *wanted)
    place = _place(transaction, source, order, listing)
    if place is not None:
        query = query.where(_behind(order, place))
    ordered = [column.desc() if backwards else column.asc() for column, backwards in order]
    query = query.order_by(*ordered).limit(listing.limit + 1).offset(listing.offset)
    return Slice.of(transaction.scalars(query).all(), listing.limit)


def page_by_name(
    transaction: Transaction, query: Select[Any], name: Column[str], after: str, limit: int
) -> Slice[Row[Any]]:
    """Rows of the query whose names come behind this one, by name; names are unique."""
    rows = transaction.execute(query.where(name > after).order_by(name).limit(limit + 1)).all()
    return Slice.of(rows, limit)


def in_order(found: Iterable[H], ids: Sequence[str]) -> list[H]:
    """What was found, in the order of the ids; some may not be there."""
    known = {each.id: each for each in found}
    return [known[each] for each in ids if each in known]


def _columns(source: Source, order: Order) -> list[tuple[ColumnElement[Any], bool]]:
    columns: list[tuple[ColumnElement[Any], bool]] = []
    for key, backwards in order:
        if key == "id":  # nothing is left behind it
            return [*columns, (source.id, backwards)]
        if key in source.keys:
            columns.append((source.keys[key], backwards))
    return [*columns, (source.id, False)]


def _place(
    transaction: Transaction,
    source: Source,
    order: Sequence[tuple[ColumnElement[Any], bool]],
    listing: Listing,
) -> Sequence[Any] | None:
    """What the columns of the order have at the place behind which the page goes on."""
    if listing.behind is not None:
        return [listing.behind.created_at, listing.behind.id]
    if listing.marker is None:
        return None
    row = transaction.execute(
        select(*(column.label(f"key_{number}") for number, (column, _) in enumerate(order)))
        .select_from(source.table)
        .where(*source.scope, source.id == listing.marker)
    ).one_or_none()
    if row is None:
        raise MarkerUnknown(listing.marker)
    return tuple(row)


def _behind(order: Sequence[tuple[ColumnElement[Any], bool]], place: Sequence[Any]) -> Condition:
    """Rows that come after the place: greater in one column, and equal in those before it."""
    found: Condition = false()
    for (column, backwards), value in zip(reversed(order), reversed(place), strict=True):
        further = column < value if backwards else column > value
        found = or_(further, and_(column == value, found))
    first, backwards = order[0]
    # Says nothing new, and lets the database begin at that place of an index.
    return and_(first <= place[0] if backwards else first >= place[0], found)


class has_part(GenericFunction[bool]):  # noqa: N801  a function of SQL
    """Whether the first text has the second in it, to the letter (LIKE takes `a` for `A`)."""

    type = Boolean()
    inherit_cache = True


class latest(GenericFunction[datetime]):  # noqa: N801  a function of SQL
    """The latest of several moments; none of them is null."""

    type = UtcDateTime()
    inherit_cache = True


def _written_as(form: str) -> Callable[..., str]:
    def write(element: GenericFunction[object], compiler: SQLCompiler, **options: Any) -> str:
        return form.format(compiler.process(element.clauses, **options))

    return write


compiles(has_part, "sqlite")(_written_as("instr({}) > 0"))
compiles(has_part, "postgresql")(_written_as("strpos({}) > 0"))
compiles(latest, "sqlite")(_written_as("max({})"))
compiles(latest, "postgresql")(_written_as("greatest({})"))

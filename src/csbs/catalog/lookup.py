"""Finding in SQL what a person names (`csbs.domain.lookup`), by an index."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_

from csbs.domain.lookup import PREFIX_SIZE_MIN

#: Comes behind every other character.
_LAST = "\U0010ffff"


def is_named(id_column: ColumnElement[str], wanted: str) -> ColumnElement[bool]:
    """By id, or by a prefix of it that is long enough."""
    is_it = id_column == wanted.lower()
    if len(wanted) < PREFIX_SIZE_MIN:
        return is_it
    return or_(is_it, begins(id_column, wanted.lower()))


def begins(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """The text begins so, by code points."""
    return and_(column >= prefix, column < prefix + _LAST)

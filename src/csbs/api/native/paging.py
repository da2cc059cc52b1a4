"""Pages of lists: `limit` and `after`, and what the next page is asked for with.

Lists that are sorted by name go on behind a name, those by age behind a `Place`: what was the last
of a page may be gone when the next one is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol, TypeVar

from fastapi import Query

from csbs.domain.listing import OLDEST_FIRST, PAGE_SIZE_MAX, Listing, Place, Slice

LIMIT_DEFAULT = 100
#: Names of servers may have so many characters.
_AFTER_SIZE_MAX = 255

Limit = Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX, description="How many at most.")]
_AFTER = "`next` of the page before; empty: the first."
After = Annotated[str, Query(max_length=_AFTER_SIZE_MAX, description=_AFTER)]
AfterPlace = Annotated[str, Query(pattern=f"^({Place.PATTERN})?$", description=_AFTER)]


class Named(Protocol):
    """What lists are sorted by name by."""

    @property
    def name(self) -> str:
        """Unique in its list."""


class Aged(Protocol):
    """What lists are sorted by age by."""

    @property
    def created_at(self) -> datetime:
        """Since when it is there."""

    @property
    def id(self) -> str:
        """Unique."""


N = TypeVar("N", bound=Named)
A = TypeVar("A", bound=Aged)


def by_age(after: str, limit: int) -> Listing:
    """The page behind the one whose `next` was `after`."""
    behind = Place.parse(after) if after else None
    return Listing(order=OLDEST_FIRST, limit=limit, behind=behind)


def next_by_age(page: Slice[A]) -> str | None:
    """What the page behind it is asked for with."""
    last = page.rows[-1] if page.more else None
    return None if last is None else str(Place(last.created_at, last.id))


def page_by_name(all_of_them: Sequence[N], after: str, limit: int) -> Slice[N]:
    """The page of a list that is sorted by name."""
    behind = [each for each in all_of_them if each.name > after]
    return Slice.of(behind[: limit + 1], limit)


def next_by_name(page: Slice[N]) -> str | None:
    """What the page behind it is asked for with."""
    return page.rows[-1].name if page.more else None

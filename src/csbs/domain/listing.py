"""Lists: how they are sorted, and cut into pages.

A page goes on behind an object (`marker`), which must still be there, or behind a `Place`, which is
one whether or not the object still is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Generic, TypeAlias, TypeVar

from csbs.domain.errors import Invalid

PAGE_SIZE_MAX = 1000

T = TypeVar("T")
S = TypeVar("S")

#: Keys, each with whether it runs backwards; ids decide what is left, forwards.
Order: TypeAlias = tuple[tuple[str, bool], ...]

NEWEST_FIRST: Order = (("created_at", True),)
OLDEST_FIRST: Order = (("created_at", False),)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(eq=False)
class MarkerUnknown(Invalid):
    """A page was to go on behind an object that the list does not have."""

    marker: str

    template = "marker: it is the id of no object of this list"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list that is sorted by age: behind this object."""

    #: How it is written: microseconds since 1970, and an id.  All that looks so is one.
    PATTERN: ClassVar[str] = "[0-9]{1,17}-[0-9a-z-]{1,36}"

    created_at: datetime
    id: str

    def __str__(self) -> str:
        return f"{(self.created_at - _EPOCH) // _MICROSECOND}-{self.id}"

    @staticmethod
    def parse(text: str) -> Place:
        """The place that was written so.  Raises `ValueError`."""
        if not re.fullmatch(Place.PATTERN, text):
            raise ValueError(text)
        microseconds, _, place_id = text.partition("-")
        return Place(_EPOCH + int(microseconds) * _MICROSECOND, place_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How a list is sorted and cut."""

    order: Order = NEWEST_FIRST
    limit: int = PAGE_SIZE_MAX
    #: Id of the object behind which it goes on.
    marker: str | None = None
    #: The same for a list that is sorted by `created_at`, for an object that may be gone.
    behind: Place | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """What is on one page."""

    rows: Sequence[T]
    #: Whether something comes behind it.
    more: bool

    @staticmethod
    def of(found: Sequence[T], limit: int) -> Slice[T]:
        """The page of `limit` rows, where one more was looked for."""
        return Slice(found[:limit], len(found) > limit)

    def map(self, change: Callable[[Sequence[T]], Sequence[S]]) -> Slice[S]:
        """The same page of what `change` makes of its rows."""
        return Slice(change(self.rows), self.more)

"""Queries of lists: filters, sorting, and pages with `limit`, `marker` and `offset`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from csbs.api.csbs_v1.wire.times import parse_time
from csbs.api.errors import RequestInvalid
from csbs.api.json_body import is_keepable
from csbs.domain.listing import PAGE_SIZE_MAX, Listing, MarkerUnknown, Order, Slice

SORT_SIZE_MAX = 255
_NUMBER_MAX = 2**31

#: Parameters of lists that may come more than once.
_SETS = frozenset({"resource_type"})

T = TypeVar("T")

#: Sort keys of the protocol; what an object lacks sorts as equal.
SORT_KEYS = ("created_at", "updated_at", "name", "status", "protected_at", "id")
#: Of a row: its id and what it is sorted by, for each key.
SortValues = Mapping[str, Any]


class Query:
    """The parameters of a request, each with all its values."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if not is_keepable(value):
                raise RequestInvalid(name[:64], "it has a character that cannot be used")
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str | None:
        """The first value; one that is empty says nothing."""
        return self._values.get(name, [""])[0] or None

    def texts(self, name: str) -> frozenset[str]:
        """All values, repeated or with commas between them."""
        parts = (part for value in self._values.get(name, ()) for part in value.split(","))
        return frozenset(part.strip() for part in parts if part.strip())

    def number(self, name: str, *, least: int) -> int | None:
        """A whole number.  Raises `RequestInvalid`."""
        text = self.text(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) < _NUMBER_MAX:
            raise RequestInvalid(name, f"it must be a whole number from {least} on")
        return int(text)

    def flag(self, name: str) -> bool | None:
        """True or false, in any case, or 1 or 0.  Raises `RequestInvalid`."""
        text = self.text(name)
        if text is None:
            return None
        known = {"true": True, "1": True, "false": False, "0": False}
        if text.lower() not in known:
            raise RequestInvalid(name, "it must be true or false")
        return known[text.lower()]

    def moment(self, name: str) -> datetime | None:
        """A time.  Raises `RequestInvalid`."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_time(text)
        except (ValueError, OverflowError):
            raise RequestInvalid(name, "it must be a time, such as 2031-05-06T07:08:09") from None

    def with_marker(self, marker: str, limit: int) -> str:
        """The same query for what comes behind `marker`.

        No parameter comes twice: some signers sign the first value of each only, and here too only
        that counts where one is wanted.
        """
        kept = {
            name: ",".join(values) if name in _SETS else values[0]
            for name, values in self._values.items()
            if name not in {"marker", "limit", "offset"} and any(values)
        }
        return urlencode({**kept, "limit": str(limit), "marker": marker}, quote_via=quote)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Rows of one page, and the query of the next; None: there is none."""

    rows: Sequence[T]
    next_query: str | None

    def links(self, url: str) -> list[dict[str, str]]:
        """As clients follow them: absolute; empty on the last page."""
        if self.next_query is None:
            return []
        return [{"rel": "next", "href": f"{url}?{self.next_query}"}]


def parse_listing(query: Query) -> Listing:
    """Sorting and paging of a query.  Raises `RequestInvalid`."""
    limit = query.number("limit", least=1)
    return Listing(
        order=_order(query),
        limit=PAGE_SIZE_MAX if limit is None else min(limit, PAGE_SIZE_MAX),
        marker=query.text("marker"),
        offset=query.number("offset", least=0) or 0,
    )


def slice_page(found: Slice[T], query: Query, ids: Callable[[T], str]) -> Page[T]:
    """The page that the catalog has cut, by `parse_listing`."""
    listing = parse_listing(query)
    last = ids(found.rows[-1]) if found.more else None
    return Page(
        rows=found.rows,
        next_query=None if last is None else query.with_marker(last, listing.limit),
    )


def page_of(
    rows: Iterable[T],
    query: Query,
    *,
    values: Callable[[T], SortValues],
    wanted: Callable[[T], bool],
) -> Page[T]:
    """The page that the query asks for of a list that is short, and not in the catalog.

    A marker counts among all rows, wanted or not: what was the last of a page may have changed
    since, and is still the place to go on from.  Raises `RequestInvalid`, and `MarkerUnknown` for
    one that is none of the rows.
    """
    listing = parse_listing(query)
    ordered = _sorted(rows, listing.order, values)
    if listing.marker is not None:
        ordered = _behind(ordered, listing.marker, values)
    found = [row for row in ordered if wanted(row)][listing.offset :]
    return slice_page(Slice.of(found, listing.limit), query, lambda row: values(row)["id"])


def everything(_row: object) -> bool:
    """The filter of a list that has none."""
    return True


def _order(query: Query) -> Order:
    text = query.text("sort")
    if text is None:
        # The older way, which Karbor's client can also use.
        key, direction = query.text("sort_key"), query.text("sort_dir")
        text = f"{key or 'created_at'}:{direction or 'desc'}"
    if len(text) > SORT_SIZE_MAX:
        raise RequestInvalid("sort", f"it may have {SORT_SIZE_MAX} characters")
    order = []
    for part in text.split(","):
        key, _, direction = (each.strip() for each in part.partition(":"))
        if key not in SORT_KEYS:
            raise RequestInvalid("sort", f"its keys are {', '.join(SORT_KEYS)}")
        if direction.lower() not in {"", "asc", "desc"}:
            raise RequestInvalid("sort", "its directions are asc and desc")
        order.append((key, direction.lower() != "asc"))
    return tuple(order)


def _sorted(rows: Iterable[T], order: Order, values: Callable[[T], SortValues]) -> list[T]:
    found = sorted(rows, key=lambda row: values(row)["id"])
    # Sorting is stable: the last key first, and ids decide what is left.
    for key, backwards in reversed(order):
        known = [row for row in found if values(row).get(key) is not None]
        unknown = [row for row in found if values(row).get(key) is None]
        known.sort(key=lambda row: values(row)[key], reverse=backwards)
        found = [*known, *unknown]
    return found


def _behind(rows: Sequence[T], marker: str, values: Callable[[T], SortValues]) -> list[T]:
    for position, row in enumerate(rows):
        if values(row)["id"] == marker:
            return list(rows[position + 1 :])
    raise MarkerUnknown(marker)

"""Finding what a person names: by id, by a unique prefix of it, or by a unique name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

#: Shorter prefixes would too easily be unique today and ambiguous tomorrow.
PREFIX_SIZE_MIN = 8


class Named(Protocol):
    """What can be found: something with an id, and perhaps a name."""

    @property
    def id(self) -> str:
        """Unique for ever."""

    @property
    def name(self) -> str:
        """Chosen by a person; may come twice."""


T = TypeVar("T", bound=Named)


def matching(candidates: Iterable[T], wanted: str) -> list[T]:
    """All candidates that `wanted` may mean: one by id, else those by prefix or name."""
    found = []
    for each in candidates:
        if each.id == wanted.lower():
            return [each]
        by_prefix = len(wanted) >= PREFIX_SIZE_MIN and each.id.startswith(wanted.lower())
        if by_prefix or each.name == wanted:
            found.append(each)
    return found

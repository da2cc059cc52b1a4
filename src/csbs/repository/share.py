"""A share of the packs: reading a large repository in several runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from csbs.domain.errors import Invalid

#: A year of daily runs, and some.
SHARES_MAX = 1000

_TEXT = re.compile(r"(\d{1,4})/(\d{1,4})")


@dataclass(eq=False)
class InvalidShare(Invalid):
    """Not a share that csbs takes."""

    share: str

    template = (
        "{0.share!r} is no share: 3/7 is the third of seven, and there are at most 1000 of them"
    )


@dataclass(frozen=True, slots=True)
class Share:
    """One of `total` shares of all packs; `number` counts from 1.

    Every pack belongs to exactly one of them, for ever, by its id alone: whoever reads all shares,
    in any order, has read each pack that was there all the while.  Ids are random, so shares are
    about equal.
    """

    number: int
    total: int

    def __post_init__(self) -> None:
        """Raises `InvalidShare`."""
        if not 1 <= self.number <= self.total <= SHARES_MAX:
            raise InvalidShare(f"{self.number}/{self.total}")

    def has(self, pack_id: bytes) -> bool:
        """Whether this pack belongs to it."""
        return int.from_bytes(pack_id, "big") % self.total == self.number - 1


#: All packs.
EVERYTHING = Share(1, 1)


def parse_share(text: str) -> Share:
    """The share that a person means by `3/7`.  Raises `InvalidShare`."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InvalidShare(text)
    return Share(int(match[1]), int(match[2]))

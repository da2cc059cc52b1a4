"""Errors about locks; see `csbs.domain.errors`."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.domain.errors import Unavailable


@dataclass(eq=False)
class LockLost(Unavailable):
    """A lock in the database went with its connection, and another csbs may have had it since."""

    doing: str
    why: str

    template = (
        "{0.doing} was broken off: its lock in the catalog's database was lost ({0.why}), and what "
        "it relied on may have changed; begin it again"
    )

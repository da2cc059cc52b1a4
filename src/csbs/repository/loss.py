"""Blocks of an image that cannot be read, and who is told of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from csbs.domain.errors import Corrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Half-open range of blocks, and what is damaged.

    `pack_id` is None where the map itself says that they are lost; `slot` is None where no frame
    of the pack can be found.
    """

    first_block: int
    end_block: int
    pack_id: bytes | None
    slot: int | None
    why: Corrupt
    #: False: found by an earlier look only; it is tried all the same.
    certain: bool = True


#: Told of each loss, perhaps several times, by any thread.  Where it returns, zeroes stand for the
#: blocks; it may raise.
OnLoss = Callable[[Loss], None]

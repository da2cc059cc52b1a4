"""What the source's allocation says against the parent's: a check of change tracking.

A disk that was shrunk and grown again has zeroes that no bitmap knows of, and an image that was
copied over another one carries bitmaps of the same names.  Both show where a block is allocated
and was not, or is not and was: such a block counts as changed, whatever the bitmap says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator

import numpy as np

from csbs.domain.extents import Allocation, BlockExtent
from csbs.repository import FANOUT, Flags

log = logging.getLogger(__name__)

#: Of a leaf (512 blocks): which are not allocated as in the parent; None: all are.
Differs = Callable[[int, Flags], Flags | None]


def checked(disk: str, blocks: Iterable[BlockExtent], differs: Differs) -> Iterator[BlockExtent]:
    """The same blocks, those dirty too whose allocation differs from the parent's.

    `blocks` must follow one another without gaps, from block 0 on.
    """
    found = 0
    leaf: list[BlockExtent] = []
    for part in _by_leaf(blocks):
        if leaf and part.first % FANOUT == 0:
            found += yield from _checked_leaf(leaf, differs)
            leaf = []
        leaf.append(part)
    if leaf:
        found += yield from _checked_leaf(leaf, differs)
    if found:
        # Mostly what the server wrote into a hole while the job is open: QEMU saved the zeroes of
        # before, which then count as allocated.
        log.info(
            "blocks are read for their allocation alone", extra={"disk": disk, "blocks": found}
        )


def _by_leaf(blocks: Iterable[BlockExtent]) -> Iterator[BlockExtent]:
    for each in blocks:
        first = each.first
        while first < each.end:
            end = min(each.end, (first // FANOUT + 1) * FANOUT)
            yield BlockExtent(first, end, each.allocation, each.dirty)
            first = end


def _checked_leaf(leaf: list[BlockExtent], differs: Differs) -> Generator[BlockExtent, None, int]:
    """The leaf's parts, and as the generator's result how many clean blocks became dirty."""
    number = leaf[0].first // FANOUT
    base = number * FANOUT
    allocated = np.zeros(FANOUT, np.bool_)
    for part in leaf:
        allocated[part.first - base : part.end - base] = part.allocation is not Allocation.HOLE
    changed = differs(number, allocated)
    if changed is None:
        yield from leaf
        return 0
    found = 0
    for part in leaf:
        if part.dirty:
            yield part
            continue
        for block in range(part.first, part.end):
            dirty = bool(changed[block - base])
            found += dirty
            yield BlockExtent(block, block + 1, part.allocation, dirty)
    return found

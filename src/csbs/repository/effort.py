"""How hard blocks are compressed: as hard as the store leaves time for.  A pure rule.

While packs are put as fast as they come, level 1 is the fastest way to store a disk.  Where each
pack waits for room, encoders would be idle: then a higher level stores less and takes no longer.

    waited for a quarter of the time, some packs in a row      one step up
    hardly waited                                              one step down, and slower to go up
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

#: Bytes and time by level 1, blocks of 64 KiB of /usr: 3: 0.96, 1.3; 5: 0.92, 3.0; 9: 0.89, 6.2.
LEVELS: Final = (1, 3, 5, 9)

#: What encoders have in flight hides waits that are shorter.
_WAITED_MUCH = 0.25
_WAITED_LITTLE = 0.05

#: Packs in a row, so that one slow put changes nothing.
_PATIENCE_MIN = 2
_PATIENCE_MAX = 16


@dataclass(frozen=True, slots=True)
class Effort:
    """The present step, and what may change it."""

    #: Index in `LEVELS`.
    step: int = 0
    #: Packs in a row that waited much.
    waited: int = 0
    #: So many of them make a step up.
    patience: int = _PATIENCE_MIN

    @property
    def level(self) -> int:
        """Level of zstd."""
        return LEVELS[self.step]


def after_pack(effort: Effort, *, waited_s: float, took_s: float) -> Effort:
    """The effort from now on, when a full pack was handed to the store.

    `took_s` is the time since the pack before was, `waited_s` how much of it this one waited.
    """
    if waited_s < _WAITED_LITTLE * took_s or took_s <= 0:
        if effort.step == 0:
            return replace(effort, waited=0)
        patience = min(2 * effort.patience, _PATIENCE_MAX)  # that step was too high
        return Effort(effort.step - 1, 0, patience)
    if waited_s < _WAITED_MUCH * took_s:
        return replace(effort, waited=0)
    waited = effort.waited + 1
    if waited < effort.patience or effort.step == len(LEVELS) - 1:
        return replace(effort, waited=min(waited, effort.patience))
    return replace(effort, step=effort.step + 1, waited=0)

"""Space that is kept, so that a full file system can be emptied.

Deleting needs a little space itself: a tombstone, a void, a row of the catalog.  A file holds that
space; it is given up when next to nothing else is left, and made again when there is room.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

#: Enough for thousands of tombstones and voids, and a collection's own writes.
RESERVE_SIZE = 64 * 1024 * 1024
#: Below this a write may fail; far more than one deletion writes.
_NEXT_TO_NOTHING = RESERVE_SIZE // 16


@dataclass(frozen=True, slots=True)
class Reserve:
    """The reserve in the file `path`; all methods raise `OSError`."""

    path: Path

    def give_up_when_full(self) -> None:
        """Frees the reserve if next to nothing else is free."""
        if shutil.disk_usage(self.path.parent).free < _NEXT_TO_NOTHING:
            self.path.unlink(missing_ok=True)

    def renew(self) -> None:
        """Makes the reserve where there is room; taking it must not fill the file system."""
        if self.path.exists() and self.path.stat().st_size == RESERVE_SIZE:
            return
        if shutil.disk_usage(self.path.parent).free < 2 * RESERVE_SIZE:
            return
        with self.path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, RESERVE_SIZE)
            os.fsync(file.fileno())

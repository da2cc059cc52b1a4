"""What a restore does where its backup is damaged: it refuses, or leaves holes and lists them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from csbs.domain.backup import Backup
from csbs.domain.errors import BackupDamaged
from csbs.domain.extents import BLOCK_SIZE, block_count
from csbs.repository import Loss


@dataclass(frozen=True, slots=True)
class Refusal:
    """Raises `BackupDamaged` for the first loss."""

    backup: Backup
    target: str

    def __call__(self, loss: Loss) -> None:
        """Names backup, disk and place."""
        raise BackupDamaged(
            backup=self.backup.name,
            server=self.backup.server_name,
            disk=self.target,
            offset_bytes=loss.first_block * BLOCK_SIZE,
            why=str(loss.why),
        ) from loss.why


class Holes:
    """Collects what was lost of one disk, told by several threads; one byte for each block."""

    def __init__(self, size_bytes: int) -> None:
        """`size_bytes` is the disk's size in the backup."""
        self._size_bytes = size_bytes
        self._lost = np.zeros(block_count(size_bytes), np.bool_)
        self._places: set[tuple[bytes, int | None]] = set()
        self._lock = threading.Lock()

    def __call__(self, loss: Loss) -> None:
        """Notes it, unless loading may still succeed."""
        if not loss.certain:
            return
        with self._lock:
            self._lost[loss.first_block : loss.end_block] = True
            if loss.pack_id is not None:
                self._places.add((loss.pack_id, loss.slot))

    def begin(self) -> None:
        """Writing begins: what was found lost by looking is found again where it is needed."""
        with self._lock:
            self._lost[:] = False

    @property
    def places(self) -> set[tuple[bytes, int | None]]:
        """What is damaged in the store: (pack, slot), or all of a pack (None)."""
        with self._lock:
            return set(self._places)

    def ranges(self) -> list[tuple[int, int]]:
        """What zeroes stand for, as (offset, size) in bytes, ascending."""
        edges = np.flatnonzero(np.diff(self._lost, prepend=False, append=False))
        return [
            (first * BLOCK_SIZE, min(end * BLOCK_SIZE, self._size_bytes) - first * BLOCK_SIZE)
            for first, end in edges.reshape(-1, 2).tolist()
        ]

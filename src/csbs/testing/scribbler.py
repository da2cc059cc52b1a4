"""Random writes to disks, and what the disks hold after them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_SECTOR = 512
#: Discards of less than a cluster leave it open what is read afterwards.
_DISCARD_UNIT = 64 * 1024
_SIZES = (512, 4096, 64 * 1024, 200 * 1024)


class Kind(StrEnum):
    """What a guest does to a range of a disk."""

    DATA = "data"
    ZERO = "zero"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write; `pattern` is the byte value of data."""

    kind: Kind
    offset: int
    size: int
    pattern: int

    @property
    def command(self) -> str:
        """For `qemu-io`."""
        verb = {Kind.DATA: f"write -P {self.pattern}", Kind.ZERO: "write -z"}.get(
            self.kind, "discard"
        )
        return f"{verb} {self.offset} {self.size}"


class Scribbler:
    """Thinks up writes, and keeps what the disks hold once they are done."""

    def __init__(self, sizes: Mapping[str, int], seed: int) -> None:
        """Disks of these sizes in bytes, by target, that hold zeroes."""
        self.random = random.Random(seed)
        self.content = {target: bytes(size) for target, size in sizes.items()}

    def scribble(self, target: str, count: int, *, discards: bool = True) -> list[str]:
        """Commands for `qemu-io` that change the disk; they must be carried out now."""
        disk_size = len(self.content[target])
        writes = [self._write(disk_size, discards=discards) for _ in range(count)]
        return self._done(target, writes)

    def fill(self, target: str, *, offset: int, size: int) -> list[str]:
        """Commands for `qemu-io` that put data over a range; they must be carried out now."""
        pattern = self.random.randint(1, 255)
        return self._done(
            target, [Write(kind=Kind.DATA, offset=offset, size=size, pattern=pattern)]
        )

    def resized(self, target: str, size_bytes: int) -> None:
        """The disk was cut, or has more zeroes at its end."""
        self.content[target] = self.content[target][:size_bytes].ljust(size_bytes, b"\0")

    def _done(self, target: str, writes: Sequence[Write]) -> list[str]:
        content = bytearray(self.content[target])
        for write in writes:
            content[write.offset : write.offset + write.size] = bytes([write.pattern]) * write.size
        self.content[target] = bytes(content)
        return [*(write.command for write in writes), "flush"]

    def _write(self, disk_size: int, *, discards: bool) -> Write:
        kind = self.random.choices(list(Kind), weights=(6, 1, int(discards)))[0]
        size = self.random.choice(_SIZES)
        grain = _SECTOR
        if kind is Kind.DISCARD:
            size, grain = self.random.randint(1, 4) * _DISCARD_UNIT, _DISCARD_UNIT
        offset = self.random.randrange(0, disk_size, grain)
        size = min(size, disk_size - offset)
        if kind is Kind.DISCARD and size % _DISCARD_UNIT:  # the disk's end is less than a cluster
            kind = Kind.ZERO
        return Write(
            kind=kind,
            offset=offset,
            size=size,
            pattern=self.random.randint(1, 255) if kind is Kind.DATA else 0,
        )

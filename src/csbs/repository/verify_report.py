"""What a verification works with, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from csbs.domain.errors import OperationCancelled
from csbs.domain.task import Progress
from csbs.repository.manifest import Image, Manifest
from csbs.repository.manifest_store import ManifestStore
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.pack_reader import PackReader

#: What a report lists; beyond that it only counts.
LISTED_MAX = 1000


@dataclass(frozen=True, slots=True)
class DamagedObject:
    """An object that is not what was written, or is gone."""

    key: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedImage:
    """A disk of a backup that has lost blocks.

    `ranges` are (offset, size) in the disk, in bytes, ascending; those beyond `LISTED_MAX` are
    left off and only counted.
    """

    manifest: Manifest
    image: Image
    lost_bytes: int
    ranges: tuple[tuple[int, int], ...]
    ranges_left_off: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was looked at, and what is damaged."""

    #: Keys of the manifests of all backups that there are, as far as they could be read.
    keys: frozenset[str] = frozenset()
    nodes: int = 0
    packs: int = 0
    #: Of which all bytes were read.
    packs_read: int = 0
    read_bytes: int = 0
    objects: tuple[DamagedObject, ...] = ()
    objects_left_off: int = 0
    images: tuple[DamagedImage, ...] = ()
    #: Whether writers know of it from now on.
    kept: bool = True
    #: Bytes by key of small objects that are lost, and known from their twins.
    put_back: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    #: Keys of damaged objects that are whole again.
    mended: tuple[str, ...] = ()

    @property
    def backups(self) -> int:
        """How many backups were looked at."""
        return len(self.keys)

    @property
    def damaged(self) -> bool:
        """Whether anything is."""
        return bool(self.objects or self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyWatch:
    """Who is told how far it is, and says when it is to stop."""

    progress: Callable[[Progress], None]
    cancelled: Callable[[], bool]

    def check(self) -> None:
        """Raises `OperationCancelled` if it is to stop."""
        if self.cancelled():
            raise OperationCancelled("the verification")


@dataclass(slots=True)
class Findings:
    """What was found so far."""

    nodes: int = 0
    packs_read: int = 0
    read_bytes: int = 0
    objects: list[DamagedObject] = field(default_factory=list)
    objects_left_off: int = 0
    #: See `VerifyReport`.
    put_back: dict[str, bytes] = field(default_factory=dict, repr=False)
    #: A record of known damage cannot be read.
    record_lost: bool = False
    #: Maps say themselves that blocks were lost.
    given_up: bool = False
    #: (pack, slot); None for a slot: all of the pack.
    places: list[tuple[bytes, int | None]] = field(default_factory=list)
    #: Packs of which all bytes were read and held against what they must be.
    read: set[bytes] = field(default_factory=set)

    def add(self, key: str, why: object) -> None:
        """One more damaged object."""
        if len(self.objects) < LISTED_MAX:
            self.objects.append(DamagedObject(key, str(why)))
        else:
            self.objects_left_off += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyParts:
    """What a verification works with."""

    name: str
    store: ObjectStore
    packs: PackReader
    manifests: ManifestStore
    watch: VerifyWatch

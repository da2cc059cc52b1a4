"""What only commands on the host itself show: exports, copies, keys, rebuilt catalogs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from csbs.documents.base import Document, Range, Reference, ranges_of

if TYPE_CHECKING:  # who only reads documents needs no catalog
    from csbs.repository import KeyRing
    from csbs.repository.mirror import MirrorReport
    from csbs.services.exports import ExportDone
    from csbs.workflows.rebuild_catalog import RebuildReport


class ExportedDiskDocument(Document):
    """One image file."""

    id: str
    target: str
    file: str
    size_bytes: int
    written_bytes: int
    holes: list[Range]


class ExportDocument(Document):
    """Which files were written."""

    backup: Reference
    server: Reference
    format: str
    disks: list[ExportedDiskDocument]
    definition: str | None
    note: str

    @classmethod
    def of(cls, done: ExportDone) -> Self:
        """As it was done."""
        backup = done.backup
        return cls(
            backup=Reference(id=backup.id, name=backup.name),
            server=Reference(id=backup.server_id, name=backup.server_name),
            format=done.format,
            disks=[
                ExportedDiskDocument(
                    id=each.disk.disk_id,
                    target=each.disk.target,
                    file=str(each.path),
                    size_bytes=each.disk.size_bytes,
                    written_bytes=each.written_bytes,
                    holes=ranges_of(each.holes),
                )
                for each in done.disks
            ],
            definition=None if done.definition is None else str(done.definition),
            note=str(done.note),
        )


class DamagedManifestDocument(Document):
    """A backup that a rebuilt catalog does not have."""

    id: str | None
    key: str
    why: str


class RebuildDocument(Document):
    """What a rebuilt catalog has, and what it could not take."""

    owned: bool
    backups: int
    servers: int
    damaged: list[DamagedManifestDocument]
    uncounted: list[str]
    forgotten: list[str]

    @classmethod
    def of(cls, report: RebuildReport) -> Self:
        """As it was done."""
        return cls(
            owned=report.owned,
            backups=report.backup_count,
            servers=report.server_count,
            damaged=[
                DamagedManifestDocument(id=each.backup_id, key=each.key, why=each.why)
                for each in report.damaged
            ],
            uncounted=list(report.uncounted),
            forgotten=list(report.forgotten),
        )


class WrappingDocument(Document):
    """A key that opens the others."""

    id: str
    since: str


class RecoveryKeyDocument(WrappingDocument):
    """The recovery key, and whether a person has seen it."""

    shown: bool


class RingKeyDocument(Document):
    """A key of the ring."""

    id: str
    use: str
    since: str


class KeyRingDocument(Document):
    """The keys of an encrypted repository, by ids."""

    repository_id: str
    number: int
    created_at: str
    region_key: WrappingDocument
    recovery_key: RecoveryKeyDocument
    keys: list[RingKeyDocument]

    @classmethod
    def of(cls, ring: KeyRing, *, recovery_key_waits: bool) -> Self:
        """As it is."""
        return cls(
            repository_id=ring.repository_id,
            number=ring.number,
            created_at=ring.created_at,
            region_key=WrappingDocument(id=ring.region.key_id, since=ring.region.since),
            recovery_key=RecoveryKeyDocument(
                id=ring.recovery.key_id,
                since=ring.recovery.since,
                shown=not recovery_key_waits,
            ),
            keys=[RingKeyDocument(id=key.id, use=key.use, since=key.since) for key in ring.keys],
        )


class MirrorDocument(Document):
    """What a copy of the repository did."""

    copied_objects: int
    copied_bytes: int
    present_objects: int

    @classmethod
    def of(cls, report: MirrorReport) -> Self:
        """As it was done."""
        return cls.model_validate(report)

"""What a policy keeps and removes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self

from csbs.documents.base import Document, Reference
from csbs.domain.retention import Rule, Verdict

if TYPE_CHECKING:  # who only reads documents needs no catalog
    from csbs.services.expiry_preview import Preview

#: Nobody reads more; how many there are is said.
_LISTED_MAX = 1000


class ReasonDocument(Document):
    """A rule, and what it says of a backup."""

    rule: Rule
    detail: str


class VerdictDocument(Document):
    """A backup that stays or goes, with the rules that say so."""

    backup: Reference
    server: Reference
    created_at: datetime
    reasons: list[ReasonDocument]

    @classmethod
    def of(cls, verdict: Verdict, names: tuple[str, str]) -> Self:
        """The document of it; `names` are those of the backup and of its server."""
        stored = verdict.backup
        return cls(
            backup=Reference(id=stored.id, name=names[0]),
            server=Reference(id=stored.server_id, name=names[1]),
            created_at=stored.created_at,
            reasons=[ReasonDocument(rule=rule, detail=detail) for rule, detail in verdict.reasons],
        )


class PreviewDocument(Document):
    """What becomes of the backups of a policy that are there now."""

    policy: Reference
    at: datetime
    #: How often it is due until then; each run is taken to end well.
    coming_runs: int
    removed_count: int
    #: Server by server, oldest first; at most 1000.
    removed: list[VerdictDocument]
    kept_count: int
    #: Newest first; at most 1000.
    kept: list[VerdictDocument]
    #: Billed storage of its servers, with all backups that they have.
    storage_before_bytes: int
    storage_after_bytes: int
    #: False: at least that much is given back; not all maps could be read, or not in time.
    storage_exact: bool

    @classmethod
    def of(cls, preview: Preview) -> Self:
        """The document of it."""

        def listed(verdicts: tuple[Verdict, ...]) -> list[VerdictDocument]:
            return [
                VerdictDocument.of(each, preview.names.get(each.backup.id, ("", "")))
                for each in verdicts[:_LISTED_MAX]
            ]

        return cls(
            policy=Reference(id=preview.policy.id, name=preview.policy.name),
            at=preview.at,
            coming_runs=preview.coming_runs,
            removed_count=len(preview.removed),
            removed=listed(preview.removed),
            kept_count=len(preview.kept),
            kept=listed(preview.kept),
            storage_before_bytes=preview.space.before_bytes,
            storage_after_bytes=preview.space.after_bytes,
            storage_exact=preview.space.exact,
        )

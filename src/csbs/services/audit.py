"""The audit trail: who did what."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from csbs.catalog import Catalog, audit
from csbs.domain.audit import DONE, AuditEvent
from csbs.domain.clock import Clock
from csbs.domain.errors import CatalogFailed, CsbsError
from csbs.domain.ids import ProjectId
from csbs.domain.tenancy import UserId

log = logging.getLogger(__name__)

#: What columns hold.
_ACTION_MAX, _TARGET_MAX, _NAME_MAX = 64, 255, 64
_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditService:
    """Adds to the trail and reads it; nothing changes it."""

    catalog: Catalog
    clock: Clock

    def record(self, event: AuditEvent) -> None:
        """Enters an event.  Raises `CatalogFailed`."""
        with self.catalog.transaction() as transaction:
            audit.add(transaction, event)

    @contextmanager
    def local(self, user_name: str, action: str, target: str) -> Iterator[None]:
        """Records a command on the machine itself, with its end."""
        result, reason = "unexpected", ""
        try:
            yield
            result = DONE
        except CsbsError as error:
            result, reason = error.kind, str(error)
            raise
        finally:
            event = AuditEvent(
                at=self.clock(),
                project_id=None,
                user_id=UserId(""),
                user_name=user_name[:_NAME_MAX],
                action=action[:_ACTION_MAX],
                target=target[:_TARGET_MAX],
                remote_address="",
                request_id="",
                result=result,
                reason=reason,
            )
            try:
                self.record(event)
            except CatalogFailed as error:  # what happened has happened, and is told all the same
                log.warning("not in the audit trail", extra={"event": event, "why": str(error)})

    def page(
        self,
        project_id: ProjectId | None,
        *,
        after: int = 0,
        limit: int = _PAGE,
        since: datetime | None = None,
    ) -> list[AuditEvent]:
        """The next events after this number, oldest first; None: those of the whole region."""
        with self.catalog.reading() as transaction:
            return audit.after(transaction, project_id, number=after, limit=limit, since=since)

    def everything(
        self, project_id: ProjectId | None, *, since: datetime | None = None
    ) -> Iterator[AuditEvent]:
        """All events, oldest first, read page by page."""
        number = 0
        while True:
            with self.catalog.transaction() as transaction:
                page = audit.after(transaction, project_id, number=number, limit=_PAGE, since=since)
            yield from page
            if len(page) < _PAGE:
                return
            number = page[-1].number

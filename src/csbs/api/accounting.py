"""Who keeps account of answered requests: the log, the metrics, the audit trail."""

from __future__ import annotations

import logging
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.concurrency import run_in_threadpool

from csbs.api.limits import Finished
from csbs.api.rpo_metrics import RpoMetrics
from csbs.domain.audit import DONE, AuditEvent
from csbs.domain.collection import OVERDUE_AFTER
from csbs.domain.errors import CsbsError
from csbs.domain.tenancy import Caller, UserId
from csbs.services.region import Region

log = logging.getLogger(__name__)

_LOOKING = {"GET", "HEAD", "OPTIONS"}
_ERROR_MIN = 400
_OVERDUE_S = OVERDUE_AFTER.total_seconds()
_TARGET_MAX, _NAME_MAX = 255, 64


class Accounting:
    """Of one application; each has its own metrics.

    A call that changes nothing although its method says so sets
    `request.state.changes_nothing = True`.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.metrics = CollectorRegistry()
        self.metrics.register(RpoMetrics(region.rpo))
        self._requests = Counter(
            "csbs_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.metrics,
        )
        self._durations = Histogram(
            "csbs_http_request_duration_seconds",
            "From the first byte of a request to the first of its answer.",
            ("method", "route"),
            registry=self.metrics,
        )

        waiting = Gauge(
            "csbs_collection_wait_seconds",
            "Longest time that deleted backups of a project have waited to be freed.",
            registry=self.metrics,
        )
        waiting.set_function(lambda: max(self._waits_s(), default=0.0))
        overdue = Gauge(
            "csbs_collections_overdue",
            "Projects whose deleted backups have waited for 7 days.",
            registry=self.metrics,
        )
        overdue.set_function(lambda: float(sum(each >= _OVERDUE_S for each in self._waits_s())))

    def _waits_s(self) -> list[float]:
        try:
            return self.region.collections.waits_s()
        except CsbsError:  # the other numbers are told all the same
            return [nan]

    async def finished(self, request: Finished) -> None:
        """Called before the answer goes out: who reads the answer finds the event."""
        method = request.method if request.route else "any"
        route = request.route or "none"
        self._requests.labels(method, route, str(request.status)).inc()
        self._durations.labels(method, route).observe(request.duration_s)
        event = self._event(request)
        if event is not None:
            try:
                await run_in_threadpool(self.region.audit.record, event)
            except CsbsError as error:  # the change has happened: its answer must go out
                log.error("not in the audit trail", extra={"event": event, "why": str(error)})  # noqa: TRY400  the sentence says it
        log.info(
            "request answered",
            extra={
                "method": request.method,
                "path": request.path,
                "status": request.status,
                "duration_ms": round(request.duration_s * 1000),
                "request_id": request.state["request_id"],
                "user": _user_name(request),
            },
        )

    def _event(self, request: Finished) -> AuditEvent | None:
        """What the trail keeps of a request; None of one that could change nothing."""
        if request.method in _LOOKING or request.state.get("changes_nothing") or not request.route:
            return None
        caller: Caller | None = request.state.get("caller")
        error: CsbsError | None = request.state.get("error")
        failed = "unexpected" if request.status >= _ERROR_MIN else DONE
        return AuditEvent(
            at=self.region.clock(),
            project_id=caller.project_id if caller else None,
            user_id=caller.user_id if caller else UserId(""),
            user_name=_user_name(request)[:_NAME_MAX],
            action=request.action,
            target=str(request.state.get("target", request.path))[:_TARGET_MAX],
            remote_address=request.remote_address,
            request_id=request.state["request_id"],
            result=error.kind if error else failed,
            reason=str(error) if error else "",
        )


def _user_name(request: Finished) -> str:
    caller: Caller | None = request.state.get("caller")
    return caller.user_name if caller else str(request.state.get("user_name", ""))

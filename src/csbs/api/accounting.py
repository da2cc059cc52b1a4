"""Who keeps account of answered requests: the log, the metrics, the audit trail."""

from __future__ import annotations

import logging

from prometheus_client import CollectorRegistry, Counter, Histogram

from csbs.api.limits import Finished
from csbs.services.region import Region

log = logging.getLogger(__name__)


class Accounting:
    """Of one application; each has its own metrics."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.metrics = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter(
            "csbs_http_requests", "Requests answered.", labels, registry=self.metrics
        )
        self._durations = Histogram(
            "csbs_http_request_duration_seconds",
            "From the first byte of a request to the first of its answer.",
            ("method", "route"),
            registry=self.metrics,
        )

    async def finished(self, request: Finished) -> None:
        """Called before the answer goes out."""
        route = request.route or "none"
        self._requests.labels(request.method, route, str(request.status)).inc()
        self._durations.labels(request.method, route).observe(request.duration_s)
        caller = request.state.get("caller")
        log.info(
            "request answered",
            extra={
                "method": request.method,
                "path": request.path,
                "status": request.status,
                "duration_ms": round(request.duration_s * 1000),
                "request_id": request.state["request_id"],
                "user": caller.user_name if caller else "",
            },
        )

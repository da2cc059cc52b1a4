"""How new backups are, as numbers: of all servers together, and of the worst by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from csbs.services.rpo import RpoSummary


class RpoMetrics(Collector):
    """Reads what the last look found; asks the catalog nothing."""

    def __init__(self, summary: Callable[[], RpoSummary]) -> None:
        self._summary = summary

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All gauges."""
        found = self._summary()
        yield GaugeMetricFamily(
            "csbs_rpo_servers", "Servers that a policy promises backups for.", found.promised
        )
        yield GaugeMetricFamily(
            "csbs_rpo_broken_servers",
            "Of these, servers without a backup that is new enough.",
            found.broken,
        )
        yield GaugeMetricFamily(
            "csbs_rpo_broken", "1 while there is such a server.", int(found.broken > 0)
        )
        yield GaugeMetricFamily(
            "csbs_rpo_oldest_backup_age_seconds",
            "Age of the newest restorable backup of the server where it is oldest.",
            found.oldest_age_s,
        )
        ages = GaugeMetricFamily(
            "csbs_rpo_backup_age_seconds",
            "Age of the newest restorable backup of the servers that are worst off.",
            labels=("server",),
        )
        broken = GaugeMetricFamily(
            "csbs_rpo_server_broken", "1 if it is older than promised.", labels=("server",)
        )
        for server_id, age_s, is_broken in found.worst:
            if age_s is not None:
                ages.add_metric((server_id,), age_s)
            broken.add_metric((server_id,), int(is_broken))
        yield ages
        yield broken

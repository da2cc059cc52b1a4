"""What `/metrics` says of RPO."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from csbs.api.rpo_metrics import RpoMetrics
from csbs.domain.ids import ServerId
from csbs.services.rpo import RpoSummary


def _lines(summary: RpoSummary) -> set[str]:
    registry = CollectorRegistry()
    registry.register(RpoMetrics(lambda: summary))
    text = generate_latest(registry).decode()
    return {line for line in text.splitlines() if not line.startswith("#")}


def test_numbers_of_all_servers_and_of_the_worst() -> None:
    worst = ((ServerId("a"), None, True), (ServerId("b"), 90, False))

    assert _lines(RpoSummary(promised=3, broken=1, oldest_age_s=90, worst=worst)) == {
        "csbs_rpo_servers 3.0",
        "csbs_rpo_broken_servers 1.0",
        "csbs_rpo_broken 1.0",
        "csbs_rpo_oldest_backup_age_seconds 90.0",
        'csbs_rpo_backup_age_seconds{server="b"} 90.0',
        'csbs_rpo_server_broken{server="a"} 1.0',
        'csbs_rpo_server_broken{server="b"} 0.0',
    }


def test_without_a_setting_no_server_is_named() -> None:
    assert not any("server=" in line for line in _lines(RpoSummary(promised=3, broken=3)))

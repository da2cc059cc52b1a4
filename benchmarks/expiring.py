"""Planning the expiry of one policy in a catalog of a million backups.

python -m benchmarks.expiring [BACKUPS]      measures once; prints its numbers as JSON

10,000 servers belong to policies of 64, and each has 100 hourly backups.  `expiry_s`: from the call
until the plan of one policy is there, all that it reads of the catalog included.  The process is of
its own, with a PostgreSQL of its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import func, insert, literal, select, text

from benchmarks.arithmetic import Sample
from benchmarks.running import run_measured
from benchmarks.scheduling import SERVERS, fill
from benchmarks.settings import Settings
from csbs.catalog import Catalog, Transaction, policies
from csbs.catalog.policy_tables import policy_servers
from csbs.catalog.tables import UtcDateTime, backups, servers
from csbs.domain.clock import monotonic, new_id, utc_now
from csbs.domain.ids import PolicyId, ProjectId
from csbs.domain.policy import Policy, Retention
from csbs.services.expiry import ExpiryService
from csbs.testing.postgres import postgres_running

BACKUPS = 1_000_000
_PLANS = 15
_RETENTION = Retention(
    max_backups=48, day_backups=3, week_backups=1, month_backups=1, timezone="Europe/Berlin"
)


def measure_expiring(settings: Settings, *, keep: Callable[[str, Sample], None]) -> None:
    """Measures as often as there are rounds."""
    for _ in range(settings.rounds):
        command = [sys.executable, "-m", "benchmarks.expiring"]
        found = json.loads(run_measured(command, durable=settings.folder).output)
        keep("expiry", Sample(seconds=found["expiry_s"], cpu_seconds=found["expiry_cpu_s"]))


def _measure(count: int) -> dict[str, float]:
    with postgres_running(durable=True) as server:
        catalog = Catalog.open(server.new_database())
        catalog.home(clock=utc_now, new_id=new_id)
        now = utc_now()
        with catalog.transaction() as transaction:
            fill(transaction, SERVERS, now)
        for number in range(1, count // SERVERS + 1):
            with catalog.transaction() as transaction:
                _add_backups(transaction, number, now - number * timedelta(hours=1))
        with catalog.transaction() as transaction:
            transaction.execute(text("analyze"))
        found = _plan_often(catalog, now)
        catalog.close()
    return {"backups": count} | found


def _add_backups(transaction: Transaction, number: int, created_at: datetime) -> None:
    """One of each server, by its policy; made in the database, which is quick."""
    rows = select(
        func.substr(servers.c.id, 1, 8) + literal(f"-{number}"),
        servers.c.project_id,
        servers.c.id,
        servers.c.name,
        servers.c.name,
        literal("available"),
        literal(created_at, UtcDateTime),
        servers.c.id,
        servers.c.id,
        literal("crash"),
        servers.c.id,
        policy_servers.c.policy_id,
        literal(True),
    ).join(policy_servers, policy_servers.c.server_id == servers.c.id)
    backup = backups.c
    columns = [
        *(backup.id, backup.project_id, backup.server_id, backup.server_name, backup.name),
        *(backup.state, backup.created_at, backup.manifest_key, backup.tracking),
        *(backup.consistency_asked, backup.checkpoint_id, backup.policy_id, backup.auto_trigger),
    ]
    transaction.execute(insert(backups).from_select(columns, rows))


def _plan_often(catalog: Catalog, now: datetime) -> dict[str, float]:
    project_id = ProjectId(f"{0:032x}")
    with catalog.transaction() as transaction:
        policy = policies.get(transaction, project_id, PolicyId("p7"))
    nobody: Any = None  # a plan deletes nothing
    service = ExpiryService(
        catalog=catalog,
        project_id=project_id,
        backups=nobody,
        region_zone="UTC",
    )
    times, cpu_times, expired = [], [], 0
    for _ in range(_PLANS):
        began, cpu_began = monotonic(), time.process_time()
        expired = len(service.plan(_with_rules(policy), now).expired)
        times.append(monotonic() - began)
        cpu_times.append(time.process_time() - cpu_began)
    return {
        "expired": expired,
        "expiry_s": median(times),
        "expiry_cpu_s": median(cpu_times),
        "expiry_max_s": max(times),
    }


def _with_rules(policy: Policy) -> Policy:
    (schedule,) = policy.schedules
    return replace(policy, schedules=(replace(schedule, retention=_RETENTION),))


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]) if len(sys.argv) > 1 else BACKUPS)))

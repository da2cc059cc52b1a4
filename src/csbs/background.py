"""What a service does by itself: runs of policies, and looks at what nobody's action shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Protocol

from csbs.app import sending_of
from csbs.catalog import Catalog, projects, runs
from csbs.config import Settings
from csbs.domain.clock import Clock, monotonic, new_id, utc_now
from csbs.domain.ids import ProjectId
from csbs.services.due_runs import DueRuns
from csbs.services.expiry import Looks
from csbs.services.lookout import Lookout
from csbs.services.notifier import Deliveries, Notifier
from csbs.services.region import Region
from csbs.services.rounds import Rounds, Stopping, for_each_project
from csbs.services.rpo import RpoLook, gap_in
from csbs.services.scheduler import Scheduler
from csbs.services.steady_clock import SteadyClock, while_trusted
from csbs.services.upkeep import KeepDays, Upkeep
from csbs.workflows.runner import TaskRunner

#: How often policies look for new servers, and somebody for backups that are too old.
_LOOK_S = 60.0
#: How often expiry looks for backups that no rule keeps.
_EXPIRY_S = 30.0
#: How often it is looked whether a repository can be collected.
_COLLECTION_S = 60.0
#: How often what is old is forgotten.
_UPKEEP_S = 60.0


class Stoppable(Protocol):
    """Works by itself, in threads of its own."""

    def stop(self) -> bool:
        """Ends what it does now, and no more; whether it has, since it is waited for a while."""


class Part(Stoppable, Protocol):
    """Works from its start on."""

    def start(self) -> None:
        """Begins; returns at once."""


def stop_all(parts: Sequence[Stoppable]) -> bool:
    """Stops them at the same time, since a service has to end soon; whether all came to an end."""
    with ThreadPoolExecutor(len(parts), thread_name_prefix="stopping") as stopping:
        stopped = [stopping.submit(each.stop) for each in parts]
    return all(each.exception() is None and each.result() for each in stopped)


def project_ids(catalog: Catalog) -> list[ProjectId]:
    """All projects of the region."""
    with catalog.transaction() as transaction:
        return [each.id for each in projects.all_of_region(transaction)]


def scheduler_of(
    settings: Settings, catalog: Catalog, runner: TaskRunner, clock: Clock
) -> Scheduler:
    """What begins runs when they are due."""
    due_runs = DueRuns(
        catalog=catalog,
        new_id=new_id,
        runner=runner,
        region_zone=settings.timezone,
        window_s=settings.schedule_jitter_s,
    )
    return Scheduler(due_runs, clock)


def lookout_of(settings: Settings, catalog: Catalog) -> Lookout:
    """What sees that backups are too old."""
    return Lookout(
        RpoLook(
            catalog=catalog,
            clock=utc_now,
            gap_of=partial(gap_in, settings.timezone),
            grace=timedelta(seconds=settings.rpo_grace_s),
            worst_max=settings.metrics_servers_max,
        )
    )


def rounds_of(settings: Settings, catalog: Catalog, region: Region, lookout: Lookout) -> list[Part]:
    """All other parts."""
    upkeep = Upkeep(catalog=catalog, clock=utc_now, keep=_keep_days(settings))
    looks: dict[ProjectId, Looks] = defaultdict(Looks)

    def forget(_stopping: Stopping) -> None:
        upkeep.prune(project_ids(catalog))

    def end_projects(_stopping: Stopping) -> None:
        region.projects.finish_deletions()

    def bind(project_id: ProjectId, _stopping: Stopping) -> None:
        region.project_app(project_id).protection.binding.bind_by_rules()

    def expire(project_id: ProjectId, _stopping: Stopping) -> None:
        region.project_app(project_id).protection.expiry.expire_due(utc_now(), looks[project_id])

    def collect(project_id: ProjectId, stopping: Stopping) -> None:
        region.project_app(project_id).collection.collect_due(utc_now(), stopping)

    def tell(project_id: ProjectId, _stopping: Stopping) -> None:
        region.project_app(project_id).collection.tell_overdue(utc_now())

    in_each = partial(for_each_project, partial(project_ids, catalog))
    # Before the scheduler begins: what it claims is of the clock that is in question.
    with catalog.transaction() as transaction:
        known_at = runs.last_claimed_at(transaction, utc_now())
    steady = SteadyClock(utc_now, monotonic, known_at)
    return [
        Rounds("lookout", lambda _: lookout.look(), _LOOK_S),
        Rounds("upkeep", while_trusted(steady, forget), _UPKEEP_S),
        Rounds("deleted projects", end_projects, _UPKEEP_S),
        Rounds("new servers", in_each(bind, "a look for new servers failed"), _LOOK_S),
        Rounds("expiry", while_trusted(steady, in_each(expire, "expiry failed")), _EXPIRY_S),
        Rounds("collection", in_each(collect, "a collection failed"), _COLLECTION_S),
        Rounds("overdue", in_each(tell, "a look at collections failed"), _COLLECTION_S),
        Notifier(
            Deliveries(
                catalog=catalog,
                sending=sending_of(settings, catalog),
                clock=utc_now,
                monotonic=monotonic,
            )
        ),
    ]


def _keep_days(settings: Settings) -> KeepDays:
    return KeepDays(
        tasks=settings.task_keep_days or None,
        failed_tasks=settings.failed_task_keep_days or None,
        audit=settings.audit_keep_days or None,
        events=settings.event_keep_days,
    )

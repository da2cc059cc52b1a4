"""What the scheduler does about schedules that are due: claims runs, and begins their backups.

Any number of processes may do it over one catalog, and die anywhere: see
`csbs.domain.policy_run`.  What fails for one policy or server never stops the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from csbs.catalog import Catalog, Transaction, backups, policies, runs, tasks
from csbs.catalog.runs import ScheduleRef
from csbs.domain.backup import Backup, BackupState, FailedOperation
from csbs.domain.clock import NewId
from csbs.domain.due_run import RunKind, begins_at, decide, run_text
from csbs.domain.errors import CatalogFailed, CsbsError
from csbs.domain.ids import (
    BackupId,
    CheckpointId,
    ProjectId,
    TaskId,
    tracking_name,
)
from csbs.domain.policy import Policy, PolicyNotFound, timetable_of
from csbs.domain.policy_run import PolicyRun, RunState, ServerRun, ServerRunState
from csbs.domain.quota import QuotaExceeded
from csbs.domain.schedule import Timetable, next_due
from csbs.domain.server import ServerRef
from csbs.domain.task import Task, TaskKind, TaskState, waiting_task
from csbs.services.policy_requests import auto_name, backup_request
from csbs.services.quotas import QuotaService
from csbs.services.requests import CreateBackup, keep_backup_request
from csbs.workflows.runner import TaskRunner

log = logging.getLogger(__name__)

#: A schedule that is due, or a run that has servers to begin.
T = TypeVar("T", ScheduleRef, PolicyRun)

_BATCH = 100
#: What failed for one schedule or run is tried again so much later.
_ASIDE = timedelta(minutes=1)
#: So many failures of the database in a row are not those of one policy.
_FAILURES_MAX = 3


@dataclass(slots=True)
class SetAside:
    """Schedules and runs that failed, until they are tried again."""

    _until: dict[str, datetime] = field(default_factory=dict)

    def ids(self, now: datetime) -> set[str]:
        """Those that are not tried now."""
        # A clock that was set back must not keep them for ever.
        kept = {key: at for key, at in self._until.items() if now < at <= now + _ASIDE}
        self._until = kept
        return set(kept)

    def add(self, key: str, now: datetime) -> None:
        """It is tried again later."""
        self._until[key] = now + _ASIDE

    def next_at(self) -> datetime | None:
        """When the first of them is tried again."""
        return min(self._until.values(), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRuns:
    """Claims and begins runs of all projects."""

    catalog: Catalog
    new_id: NewId
    runner: TaskRunner
    #: Of policies that name none.
    region_zone: str
    #: Servers of a run begin spread over so long.
    window_s: int

    def claim_due(self, now: datetime, aside: SetAside) -> None:
        """Enters a run for each schedule that is due, and when that is due again."""
        self._each(
            lambda transaction, after: runs.due(transaction, now, after=after, limit=_BATCH),
            lambda ref: ref.schedule_id,
            lambda ref: self._claim(ref, now),
            now,
            aside,
        )

    def begin_ready(self, now: datetime, aside: SetAside) -> None:
        """Begins the backups of servers whose turn has come, and hands them to the runner.

        All are entered before the first is handed over: what that takes keeps none back.
        """
        begun: list[Task] = []
        self._each(
            lambda transaction, after: runs.runs_with_ready(
                transaction, now, after=after, limit=_BATCH
            ),
            lambda run: run.id,
            lambda run: begun.extend(self._begin(run, now)),
            now,
            aside,
        )
        for task in begun:
            self.runner.start(task)

    def _each(
        self,
        find: Callable[[Transaction, T | None], list[T]],
        key: Callable[[T], str],
        act: Callable[[T], None],
        now: datetime,
        aside: SetAside,
    ) -> None:
        """Acts on all that is found, batch by batch; what fails is set aside, the others go on."""
        after: T | None = None
        failures = 0
        while True:
            with self.catalog.transaction() as transaction:
                found = find(transaction, after)
            skipped = aside.ids(now)
            for each in found:
                if key(each) in skipped:
                    continue
                try:
                    act(each)
                    failures = 0
                except Exception as error:  # the others go on
                    failures = _next_failure(failures, error)
                    log.exception("a policy could not be run", extra={"policy_id": each.policy_id})
                    aside.add(key(each), now)
            if len(found) < _BATCH:
                return
            after = found[-1]

    def realign(self, now: datetime) -> None:
        """Works out anew when schedules are due that are not due yet, and servers begin that wait.

        For a clock that was set back, and a zone of the region that was changed.
        """
        with self.catalog.transaction() as transaction:
            # No turn is further away: it was set while the clock was ahead, and every later run of
            # the server would be merged into it.
            until = now + timedelta(seconds=self.window_s)
            runs.begin_at_once(transaction, behind=until, at=now)
        after = ""
        while True:
            with self.catalog.transaction() as transaction:
                found = runs.enabled(transaction, after=after, limit=_BATCH)
                for ref in found:
                    if ref.next_run_at is None or ref.next_run_at > now:
                        self._realign(transaction, ref, now)
            if len(found) < _BATCH:
                return
            after = found[-1].schedule_id

    def advance(self, now: datetime) -> None:
        """Records which runs have ended."""
        with self.catalog.transaction() as transaction:
            runs.advance(transaction, at=now)

    def next_look(self, now: datetime, aside: SetAside) -> tuple[datetime | None, bool]:
        """When there is something to do again, and whether a server waits for another's end."""
        skipped = aside.ids(now)
        with self.catalog.transaction() as transaction:
            found = (
                runs.next_due_at(transaction, without=skipped),
                runs.next_begin_at(transaction, now),
                aside.next_at(),
            )
            queued = runs.is_queued(transaction, now)
        return min((each for each in found if each is not None), default=None), queued

    def _claim(self, ref: ScheduleRef, now: datetime) -> None:
        with self.catalog.transaction() as transaction:
            try:
                policy = policies.get(transaction, ref.project_id, ref.policy_id)
            except PolicyNotFound:  # deleted a moment ago
                return
            schedule = policy.schedule(ref.schedule_id)
            if schedule is None:
                return
            table = timetable_of(schedule, self.region_zone)
            due = decide(table, schedule.next_run_at, now)
            if due is None:  # another scheduler was here
                return
            runs.set_next_run(transaction, schedule.id, due.next_run_at)
            if runs.is_claimed(transaction, schedule.id, due.due_at):
                return
            run = PolicyRun(
                id=CheckpointId(self.new_id()),
                project_id=policy.project_id,
                policy_id=policy.id,
                schedule_id=schedule.id,
                due_at=due.due_at,
                kind=due.kind,
                note=due.note,
                state=RunState.SKIPPED if due.kind is RunKind.SKIPPED else RunState.CLAIMED,
                claimed_at=now,
            )
            start = due.due_at if due.kind is RunKind.ON_TIME else now
            runs.claim(transaction, run, self._parts(policy, run, start, due.next_run_at))
            runs.forget_old(transaction, schedule.id)
        about = run_text(run.due_at, run.kind, run.note)
        log.info("a policy is due", extra={"policy_id": run.policy_id, "about": about})

    def _parts(
        self, policy: Policy, run: PolicyRun, start: datetime, next_run_at: datetime | None
    ) -> list[ServerRun]:
        if run.state is RunState.SKIPPED:
            return []
        return [
            ServerRun(
                run_id=run.id,
                server_id=server.id,
                project_id=policy.project_id,
                policy_id=policy.id,
                begins_at=begins_at(
                    server.id, start, window_s=self.window_s, next_run_at=next_run_at
                ),
                state=ServerRunState.WAITING,
            )
            for server in policy.servers
        ]

    def _begin(self, run: PolicyRun, now: datetime) -> list[Task]:
        """Enters backups and tasks of all servers of the run whose turn has come, or of none."""
        entered = []
        with self.catalog.transaction() as transaction:
            try:
                policy = policies.get(transaction, run.project_id, run.policy_id)
            except PolicyNotFound:  # deleted a moment ago, and what waited ended with it
                return []
            ready = runs.ready(transaction, run, now)
            room = self._room(transaction, run.project_id, len(ready))
            about = run_text(run.due_at, run.kind, run.note)
            for number, (server_id, name) in enumerate(ready.items()):
                server = policy.server(server_id)
                assert server is not None, "who unbinds it drops its part"
                request = backup_request(policy, server, run.id, auto_name=auto_name(self.new_id()))
                backup = self._backup(policy.project_id, ServerRef(server_id, name), request, now)
                task = self._task(backup, request, f"policy {policy.name}: {about}")
                refusal = room(number)
                entered.append(
                    (backup, task) if refusal is None else _refused(backup, task, refusal)
                )
            backups.add_all(transaction, [backup for backup, _ in entered])
            tasks.add_all(transaction, [task for _, task in entered])
            runs.leave_waiting(transaction, run.id, [_left(run, *each) for each in entered])
        return [task for _, task in entered if task.is_open]

    def _task(self, backup: Backup, request: CreateBackup, note: str) -> Task:
        task = waiting_task(
            TaskId(self.new_id()),
            TaskKind.BACKUP,
            backup,
            at=backup.created_at,
            request=keep_backup_request(request),
        )
        return replace(task, note=note)

    def _backup(
        self, project_id: ProjectId, server: ServerRef, request: CreateBackup, now: datetime
    ) -> Backup:
        """Nothing is asked of the host: what stands against it is found when its turn comes."""
        assert request.name is not None
        assert request.checkpoint_id is not None
        backup_id = BackupId(self.new_id())
        return Backup(
            id=backup_id,
            project_id=project_id,
            server_id=server.id,
            server_name=server.name,
            name=request.name,
            state=BackupState.PROTECTING,
            created_at=now,
            manifest_key="",
            tracking=tracking_name(backup_id),
            consistency_asked=request.consistency,
            checkpoint_id=request.checkpoint_id,
            policy_id=request.policy_id,
            auto_trigger=True,
            disks=(),
        )

    def _room(
        self, transaction: Transaction, project_id: ProjectId, count: int
    ) -> Callable[[int], QuotaExceeded | None]:
        """What quotas say against a backup behind so many others, which fail or are made."""
        quotas = QuotaService(catalog=self.catalog, project_id=project_id)

        def refusal(number_before: int) -> QuotaExceeded | None:
            try:
                quotas.require_room(transaction, number_before + 1)
            except QuotaExceeded as error:
                return error
            return None

        # Each look counts all backups of the project: mostly one is enough.
        return (lambda _: None) if refusal(count - 1) is None else refusal

    def _realign(self, transaction: Transaction, ref: ScheduleRef, now: datetime) -> None:
        try:
            policy = policies.get(transaction, ref.project_id, ref.policy_id)
            schedule = policy.schedule(ref.schedule_id)
            if schedule is None:
                return
            table = timetable_of(schedule, self.region_zone)
        except (CsbsError, TypeError, ValueError):  # a bad row; its own claim says so
            log.exception("a schedule cannot be read", extra={"policy_id": ref.policy_id})
            return
        at = first_unclaimed(transaction, table, ref.schedule_id, now)
        if at != ref.next_run_at:
            runs.set_next_run(transaction, ref.schedule_id, at)


def first_unclaimed(
    transaction: Transaction, table: Timetable, schedule_id: str, now: datetime
) -> datetime | None:
    """When the schedule is due next, of times that were not answered before a clock was set back.

    Bounded: at most so many runs are remembered.
    """
    at = next_due(table, now)
    while at is not None and runs.is_claimed(transaction, schedule_id, at):
        at = next_due(table, at)
    return at


def _next_failure(failures: int, error: Exception) -> int:
    """Counts failures of the database; raises the error if it fails for all."""
    if not isinstance(error, CatalogFailed):
        return 0
    if failures + 1 >= _FAILURES_MAX:
        raise error
    return failures + 1


def _left(run: PolicyRun, backup: Backup, task: Task) -> ServerRun:
    failed = backup.state is BackupState.ERROR
    return ServerRun(
        run_id=run.id,
        server_id=backup.server_id,
        project_id=run.project_id,
        policy_id=run.policy_id,
        begins_at=backup.created_at,
        state=ServerRunState.FAILED if failed else ServerRunState.BEGUN,
        backup_id=backup.id,
        task_id=task.id,
    )


def _refused(backup: Backup, task: Task, error: CsbsError) -> tuple[Backup, Task]:
    """A trace of a server that could not be backed up in this run."""
    failed = replace(backup, finished_at=backup.created_at).to(BackupState.ERROR)
    return failed.failed(FailedOperation.BACKUP, error), replace(
        task,
        state=TaskState.ERROR,
        ended_at=backup.created_at,
        error_kind=error.kind,
        error_code=type(error).__name__,
        error_message=str(error),
    )

"""Work on a repository as a whole that takes longer than a call of the API may.

A job is no task: it is in no catalog, and ends with the service.  Nothing is lost by that, since a
collection and a verification can be begun again at any time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from csbs.domain.clock import Clock, NewId
from csbs.domain.errors import Conflict, CsbsError, NotFound, OperationCancelled, Refused
from csbs.domain.ids import ProjectId
from csbs.domain.task import Progress
from csbs.repository import CollectReport
from csbs.services.repositories import RepositoryAccess
from csbs.services.verification import VerifyDone, VerifyRequest, VerifyService
from csbs.workflows.run import Watcher

log = logging.getLogger(__name__)

#: Who asks how a job ended does so soon.
_KEPT_MAX = 200
#: A collection goes on to its end; a verification ends soon.
_STOP_WAIT_S = 30.0


class JobKind(StrEnum):
    """What is done."""

    COLLECTION = "collection"
    VERIFICATION = "verification"


class JobState(StrEnum):
    """How far it is."""

    RUNNING = "running"
    DONE = "done"
    ERROR = "error"
    CANCELLED = "cancelled"


@dataclass(eq=False)
class JobNotFound(NotFound):
    """No job of the project has this id, or it is forgotten: a restart of the service does so."""

    job: str

    template = "there is no job {0.job}: a restart of the service forgets them. Begin it again"


@dataclass(eq=False)
class JobRuns(Conflict):
    """There is one of its kind already."""

    kind_of_job: str
    job: str

    template = "a {0.kind_of_job} of this repository runs already, as job {0.job}"


@dataclass(eq=False)
class JobNotCancellable(Refused):
    """It goes on to its end."""

    job: str

    template = "job {0.job} cannot be cancelled: a collection is not stopped half-way"


@dataclass(slots=True, kw_only=True)
class Job:
    """One job; its thread writes, everybody reads."""

    id: str
    project_id: ProjectId
    kind: JobKind
    began_at: datetime
    state: JobState = JobState.RUNNING
    ended_at: datetime | None = None
    progress: Progress = field(default_factory=lambda: Progress("", 0, 0))
    error: CsbsError | None = None
    collected: CollectReport | None = None
    verified: VerifyDone | None = None
    cancel: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """All jobs of a process, the newest of those that have ended."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def begin(self, job: Job, work: Callable[[Job], None], clock: Clock) -> None:
        """Does the work in a thread.  Raises `JobRuns`."""
        thread = threading.Thread(target=self._run, args=(job, work, clock), name="job")
        with self._lock:
            for each in self._jobs.values():
                same = each.project_id == job.project_id and each.kind is job.kind
                if same and each.state is JobState.RUNNING:
                    raise JobRuns(job.kind, each.id)
            self._jobs[job.id] = job
            self._threads[job.id] = thread
            self._forget()
        thread.start()

    def get(self, project_id: ProjectId, job_id: str) -> Job:
        """The job.  Raises `JobNotFound`."""
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None or job.project_id != project_id:
            raise JobNotFound(job_id)
        return job

    def stop(self) -> None:
        """Breaks off what can be broken off, and waits a while."""
        with self._lock:
            threads = list(self._threads.values())
            for job in self._jobs.values():
                job.cancel.set()
        for thread in threads:
            thread.join(_STOP_WAIT_S)

    def _run(self, job: Job, work: Callable[[Job], None], clock: Clock) -> None:
        state = JobState.ERROR
        try:
            work(job)
            state = JobState.DONE
        except OperationCancelled as error:
            job.error, state = error, JobState.CANCELLED
        except CsbsError as error:
            job.error = error
        except Exception:  # the top of a thread
            log.exception("a job ended with an error", extra={"job": job.id})
            job.error = CsbsError()
        finally:
            job.ended_at = clock()
            job.state = state  # last: whoever sees it sees the rest
            with self._lock:
                self._threads.pop(job.id, None)

    def _forget(self) -> None:
        ended = [each.id for each in self._jobs.values() if each.state is not JobState.RUNNING]
        for job_id in ended[: max(0, len(self._jobs) - _KEPT_MAX)]:
            del self._jobs[job_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobService:
    """What a caller may ask for about jobs of a project."""

    project_id: ProjectId
    jobs: Jobs
    repositories: RepositoryAccess
    verification: VerifyService
    clock: Clock
    new_id: NewId

    def collect(self) -> Job:
        """Begins a collection.  Raises `JobRuns`; what else stands against it is in the job."""

        def work(job: Job) -> None:
            job.collected = self.repositories.collect(lambda _: None)

        return self._begin(JobKind.COLLECTION, work)

    def verify(self, request: VerifyRequest) -> Job:
        """Begins a verification.  Raises `JobRuns`; what else stands against it is in the job."""

        def work(job: Job) -> None:
            def show(progress: Progress) -> None:
                job.progress = progress

            watcher = Watcher(on_progress=show, cancel=job.cancel)
            job.verified = self.verification.verify(request, watcher)

        return self._begin(JobKind.VERIFICATION, work)

    def get(self, job_id: str) -> Job:
        """The job.  Raises `JobNotFound`."""
        return self.jobs.get(self.project_id, job_id)

    def cancel(self, job_id: str) -> Job:
        """Asks for its stop.  Raises `JobNotFound`, `JobNotCancellable`."""
        job = self.get(job_id)
        if job.kind is JobKind.COLLECTION:
            raise JobNotCancellable(job_id)
        job.cancel.set()
        return job

    def _begin(self, kind: JobKind, work: Callable[[Job], None]) -> Job:
        job = Job(id=self.new_id(), project_id=self.project_id, kind=kind, began_at=self.clock())
        self.jobs.begin(job, work, self.clock)
        return job

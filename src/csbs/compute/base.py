"""The port to a hypervisor (or a bare-metal host): list servers, open their disks, stop, start.

Adapters turn every foreign error into ours, with the server and the disk in it, and give every
call a time limit.  All methods may be called from several threads, for different servers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from csbs.domain.consistency import Consistency, ReachedConsistency
from csbs.domain.ids import BackupId, ServerId, TrackingName
from csbs.domain.server import DiskDescription, ServerDescription, ServerRef, TrackingReport


def never() -> bool:
    """For calls that nobody can cancel."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskExport:
    """One disk, open over NBD as of one instant."""

    target: str
    #: NBD URI, such as ``nbd+unix:///vda?socket=/run/csbs/<uuid>/job.sock``.
    uri: str
    size_bytes: int
    #: Meta context that reports what changed since the TrackingPoint that was asked for
    #: (``qemu:dirty-bitmap:backup-vda``); None: all must be read.
    dirty_context: str | None
    #: The job's new TrackingPoint covers this disk.
    tracked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDisk:
    """A disk to be opened; `since` asks for its changes since that TrackingPoint."""

    target: str
    since: TrackingName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """Opens the disks of one server as they are at one instant."""

    server_id: ServerId
    #: Gives the new TrackingPoint its name.
    backup_id: BackupId
    disks: Sequence[JobDisk]
    #: More than a crash is tried, and falls back to it.
    consistency: Consistency = Consistency.CRASH
    #: Freezes although no watchdog in the guest can thaw it.
    freeze_without_watchdog: bool = False
    #: A guest agent that does not answer is waited for until then.
    cancelled: Callable[[], bool] = never


class BackupJob(Protocol):
    """Disks of a server, readable as they were at one instant, while the server goes on."""

    @property
    def exports(self) -> Mapping[str, DiskExport]:
        """By target; each may be read by several connections."""

    @property
    def tracking(self) -> TrackingName | None:
        """The TrackingPoint that began at the job's instant; None where no disk can have one."""

    @property
    def consistency(self) -> ReachedConsistency:
        """What the view of the disks is consistent with, and why not with what was asked for."""

    def check(self, *, after_failure: bool = False, cancelled: Callable[[], bool] = never) -> None:
        """Raises an error if the job has ended by itself.

        `ServerPoweredOff` if the server is stopped now, `ScratchFull`, else `DriverFailed`.  A
        disk fails a moment before the host knows why: `after_failure` waits up to 30 s for that,
        or until `cancelled`.
        """

    def end(self) -> None:
        """Ends the job and waits until it has ended; its TrackingPoint stays.  May be repeated."""

    def abandon(self) -> None:
        """Ends the job and gives up its new TrackingPoint; older ones stay.  May be repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskToWrite:
    """A disk to be restored.

    `create_size_bytes` is set where its image is missing and must be made anew with that size.
    `since` asks for its changes since that TrackingPoint.
    """

    disk: DiskDescription
    create_size_bytes: int | None = None
    since: TrackingName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WritableDisk:
    """One disk of a stopped server, open for writing; nobody else can open it."""

    #: NBD URI.
    uri: str
    #: Meta context that reports what changed since the TrackingPoint that was asked for, and what
    #: is written here; None where that TrackingPoint cannot be used (any more), or none was.
    dirty_context: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCheck:
    """One finding of `csbs doctor`."""

    name: str
    ok: bool
    found: str
    #: What to do where it is not ok.
    advice: str = ""
    #: False: csbs works without it, with less.
    required: bool = field(default=True)


class ComputeDriver(Protocol):
    """One host's servers.

    Raises `HypervisorUnavailable` or `HypervisorDenied` where the host does not let us in,
    `HypervisorTimeout` where a call takes too long, `ServerNotFound` for an unknown id, and
    `DriverFailed` for all that the host refuses otherwise.
    """

    def list_refs(self) -> list[ServerRef]:
        """Ids and names of all servers, ordered by name; looks at no disk."""

    def list_servers(self) -> list[ServerDescription]:
        """All servers, ordered by name."""

    def describe(self, server_id: ServerId) -> ServerDescription:
        """One server, as it is now."""

    def tracking(self, server_id: ServerId) -> TrackingReport:
        """What is left of our TrackingPoints on this server."""

    def begin_backup(self, request: JobRequest) -> BackupJob:
        """Opens all disks at one instant and makes the new TrackingPoint in that instant.

        Running servers: one transaction of the hypervisor.  Stopped ones: read-only exports,
        which keep the server from starting until the job ends.  Raises `TrackingLost` if a
        `since` cannot be used, `ServerJobRunning` if a foreign job is there; then nothing of the
        attempt is left behind.
        """

    def go_on_stopped(self, request: JobRequest) -> BackupJob:
        """Opens all disks of a server that was powered off during the live job of this request.

        The TrackingPoint that began with that job stays and is this job's too, so `since` may be
        its name: then what was written between its beginning and the power-off is reported.
        Raises `ServerStateRefused` if the server is not stopped, `TrackingLost` if that
        TrackingPoint or a `since` cannot be used; the TrackingPoint stays then.
        """

    def retire_tracking(self, server_id: ServerId, names: Collection[TrackingName]) -> None:
        """Deletes these TrackingPoints with their bitmaps; ones that are gone are fine."""

    def pay_thaw(self, server_id: ServerId) -> str | None:
        """Thaws what a freeze left frozen for longer than it may; None if nothing is, else why not.

        May be called without the server's lock, and costs nothing where nothing is owed.
        """

    def clean_up(self, server_id: ServerId) -> list[str]:
        """Ends what a dead csbs left at this server, and says what it was.

        Jobs of ours, sockets, scratch files and qemu-nbd processes (those of an unfinished
        restore too); file systems that were left frozen are thawed at once, as far as they can be.
        TrackingPoints stay.  To be called with the server's lock held only.
        """

    def open_for_restore(
        self, server_id: ServerId, disks: Sequence[DiskToWrite]
    ) -> AbstractContextManager[Mapping[str, WritableDisk]]:
        """Opens disks of a *stopped* server for writing; by target.

        Missing images are made anew (same path, format and size) and read as zero.  Persistent
        bitmaps keep recording.  If this process is killed, the images stay locked, so that the
        server cannot start half restored; `clean_up` lets go of them.
        """

    def stop(
        self, server_id: ServerId, *, timeout_s: float, cancelled: Callable[[], bool] = never
    ) -> str:
        """Stops the server: guest agent, ACPI, after `timeout_s` by force.

        Returns how: ``agent``, ``acpi``, ``forced`` or ``already stopped``.  Raises
        `ServerStopFailed`, and `OperationCancelled` as soon as `cancelled` says so: a guest that
        was asked to shut down may still do so then, but nothing is forced.
        """

    def start(self, server_id: ServerId) -> None:
        """Starts the server; one that runs is left alone.  Raises `ServerStartFailed`."""

    def set_autostart(self, server_id: ServerId, *, on: bool) -> None:
        """Whether the host starts the server when it boots."""

    def definition_with(
        self, definition_xml: str, images: Mapping[str, Path], *, image_format: str
    ) -> str:
        """The definition of a server, by target with other images for its disks; pure."""

    def host_checks(self) -> list[HostCheck]:
        """What of the host fits, for `csbs doctor`; reports an absent libvirt, never raises."""

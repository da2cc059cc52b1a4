"""Servers: finding them, stopping and starting them, letting them go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from csbs.catalog import Catalog, assignments, servers, tasks
from csbs.compute.base import ComputeDriver
from csbs.domain.errors import RestoreUnfinished, ServerAmbiguous, ServerBusy, ServerNotFound
from csbs.domain.ids import BackupId, ProjectId, ServerId, TrackingName
from csbs.domain.lookup import matching
from csbs.domain.server import ServerDescription, ServerRef, ServerState, TrackingReport
from csbs.domain.task import TaskKind
from csbs.services.locks import Locks, NamedServer
from csbs.workflows.records import retire_owed

#: How long a start waits until a backup that it cancelled has let the server go.
_CANCEL_WAIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerService:
    """What a caller may ask for about servers."""

    catalog: Catalog
    project_id: ProjectId
    driver: ComputeDriver
    locks: Locks
    stop_timeout_s: float

    def list_all(self) -> list[ServerDescription]:
        """All servers of the host that are the project's, by name."""
        found = self.driver.list_servers()
        visible = self._visible(each.id for each in found)
        return [each for each in found if each.id in visible]

    def refs(self) -> list[ServerRef]:
        """Which servers of the host are the project's: ids and names alone."""
        found = self.driver.list_refs()
        visible = self._visible(each.id for each in found)
        return [each for each in found if each.id in visible]

    def find(self, wanted: str) -> ServerDescription:
        """The server with this id, prefix of an id, or name; a thaw that it is owed is paid.

        One of another project is not there.  Raises `ServerNotFound`, `ServerAmbiguous`.
        """
        found = matching(self.refs(), wanted)
        if not found:
            raise ServerNotFound(wanted)
        if len(found) > 1:
            raise ServerAmbiguous(wanted, tuple(each.id for each in found))
        self.driver.pay_thaw(found[0].id)
        return self.driver.describe(found[0].id)

    def set_freeze_without_watchdog(self, wanted: str, *, on: bool) -> ServerDescription:
        """Sets whether the server is frozen although no watchdog can be started in it."""
        server = self.find(wanted)
        with self.catalog.transaction() as transaction:
            servers.remember_server(transaction, self.project_id, server.id, server.name)
            servers.set_freeze_without_watchdog(transaction, self.project_id, server.id, on=on)
        return server

    def freezes_without_watchdog(self, server: ServerDescription) -> bool:
        """See `set_freeze_without_watchdog`."""
        with self.catalog.transaction() as transaction:
            return servers.freezes_without_watchdog(transaction, self.project_id, server.id)

    def tracking(self, server: ServerDescription) -> TrackingReport:
        """Which of our TrackingPoints the host holds for the server."""
        return self.driver.tracking(server.id)

    def start(self, wanted: str) -> ServerDescription:
        """Starts the server; a backup that holds a stopped server's disks is cancelled for it.

        One that runs is left alone, with what works on it.  Raises `RestoreUnfinished` if its
        disks are half written, `ServerBusy` if what works on it does not let go.
        """
        server = self.find(wanted)
        if server.state is ServerState.RUNNING:
            return server
        try:
            self._start(server, wait_s=0)
        except ServerBusy:
            if not self._cancel_backups(server.id):
                raise
            self._start(server, wait_s=_CANCEL_WAIT_S)
        return self.driver.describe(server.id)

    def stop(self, wanted: str) -> tuple[ServerDescription, str]:
        """Stops the server and returns how, as the driver says.  Raises `ServerBusy`."""
        server = self.find(wanted)
        with self.locks.server(server, "stop"):
            how = self.driver.stop(server.id, timeout_s=self.stop_timeout_s)
            retire_owed(self.catalog, self.driver, self.project_id, server.id)
        return self.driver.describe(server.id), how

    def untrack(self, wanted: str) -> tuple[ServerDescription, list[TrackingName]]:
        """Removes all our checkpoints and bitmaps: the next backup reads all and compares.

        The way out before the server is undefined, or reverted to an internal snapshot.
        """
        server = self.find(wanted)
        with self.locks.server(server, "untrack"):
            require_whole(self.catalog, self.project_id, server)
            self.driver.clean_up(server.id)
            report = self.driver.tracking(server.id)
            held = [*report.usable.values(), *report.broken.values()]
            names = set(report.checkpoints).union(*held)
            self.driver.retire_tracking(server.id, names)
            with self.catalog.transaction() as transaction:
                known = servers.known_disks(transaction, self.project_id, server.id)
                servers.set_tokens(
                    transaction, self.project_id, [(disk.id, None) for disk in known]
                )
                servers.owe_retiring(transaction, self.project_id, server.id, owed=False)
        return server, sorted(names)

    def _visible(self, server_ids: Iterable[ServerId]) -> frozenset[ServerId]:
        with self.catalog.transaction() as transaction:
            return assignments.visible(transaction, self.project_id, server_ids)

    def _start(self, server: ServerDescription, *, wait_s: float) -> None:
        with self.locks.server(server, "start", wait_s=wait_s):
            require_whole(self.catalog, self.project_id, server)
            self.driver.clean_up(server.id)
            retire_owed(self.catalog, self.driver, self.project_id, server.id)
            self.driver.start(server.id)

    def _cancel_backups(self, server_id: ServerId) -> bool:
        """Whether there was one."""
        with self.catalog.transaction() as transaction:
            running = tasks.running(transaction, self.project_id, server_id)
            found = [task for task in running if task.kind is TaskKind.BACKUP]
            for task in found:
                tasks.request_cancel(transaction, self.project_id, task.id)
        return bool(found)

    def half_restored(self) -> Mapping[ServerId, BackupId]:
        """Servers whose disks an interrupted restore left half written, and its backups."""
        with self.catalog.transaction() as transaction:
            return servers.half_restored(transaction, self.project_id)


def require_whole(catalog: Catalog, project_id: ProjectId, server: NamedServer) -> None:
    """Raises `RestoreUnfinished` if an interrupted restore left the disks half written."""
    with catalog.transaction() as transaction:
        restore = servers.unfinished_restore(transaction, project_id, server.id)
    if restore is not None:
        raise RestoreUnfinished(server.name, restore.backup_id)

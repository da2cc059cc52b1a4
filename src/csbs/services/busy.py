"""One operation per server, as far as tasks say that are not begun yet."""

from __future__ import annotations

from csbs.catalog import Transaction, tasks
from csbs.domain.errors import ServerBusy
from csbs.domain.ids import ProjectId
from csbs.domain.task import TaskKind
from csbs.services.locks import NamedServer


def refuse_busy(transaction: Transaction, project_id: ProjectId, server: NamedServer) -> None:
    """Raises `ServerBusy` if a backup or restore of the server waits or runs.

    Deletions are no reason: what is submitted behind them waits for its turn.
    """
    for task in tasks.open_of_server(transaction, project_id, server.id):
        if task.kind is not TaskKind.DELETION:
            raise ServerBusy(server.name, f"its {task.kind} (task {task.id}) is {task.state}")

"""Several connections to one export, lent to one thread at a time."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from csbs.blockio.nbd import NbdClient, NbdExport, NbdLimits
from csbs.blockio.watch import Watch


class Connections:
    """A fixed set of connections; who finds none free waits until one is given back."""

    def __init__(self, clients: list[NbdClient]) -> None:
        self._clients = clients
        self._free: queue.SimpleQueue[NbdClient] = queue.SimpleQueue()
        for client in clients:
            self._free.put(client)

    @contextmanager
    def one(self) -> Iterator[NbdClient]:
        """A connection of one's own; each call on it is bounded, and so is the wait for it."""
        client = self._free.get()
        try:
            yield client
        finally:
            self._free.put(client)

    def flush(self) -> None:
        """Makes durable what any of them wrote; nobody may hold one now."""
        for client in self._clients:
            client.flush()


@contextmanager
def open_connections(
    export: NbdExport, count: int, watch: Watch, limits: NbdLimits
) -> Iterator[Connections]:
    """That many connections, closed at the end; raises what `NbdClient` raises."""
    with ExitStack() as opened:
        yield Connections(
            [opened.enter_context(NbdClient(export, watch, limits)) for _ in range(count)]
        )

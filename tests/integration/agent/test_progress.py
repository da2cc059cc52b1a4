"""What a copy tells of its progress, beside what its disk's server has really been asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csbs.blockio.nbd import NbdClient
from csbs.domain.task import Progress
from tests.integration.agent.engine import Engine, open_engine, serve
from tests.integration.blockio.servers import make_image

MIB, GIB = 1024**2, 1024**3
#: Data in two parts, between and behind them holes.
DISK_SIZE = 4 * GIB
WRITES = ("write -P 1 0 512M", "write -P 2 2G 640M")
DATA_SIZE = (512 + 640) * MIB
#: Of the whole, as the product promises.
ERROR_MAX = 0.02


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path) as engine:
        yield engine


class Truth:
    """Counts what the servers of the disks gave or took, and keeps it beside each report."""

    def __init__(self, engine: Engine) -> None:
        self.moved_bytes = 0
        self._lock = threading.Lock()
        #: (share that was told, bytes that were moved by then)
        self.seen: list[tuple[float, int]] = []
        engine.on_report = self._report

    def _report(self, progress: Progress) -> None:
        if progress.total_bytes:
            self.seen.append((progress.done_bytes / progress.total_bytes, self.moved_bytes))

    def counted(
        self, call: Callable[..., object], size_of: Callable[..., int]
    ) -> Callable[..., object]:
        def counting(*args: object, **kwargs: object) -> object:
            result = call(*args, **kwargs)
            with self._lock:
                self.moved_bytes += size_of(*args)
            return result

        return counting

    def errors(self) -> list[float]:
        return [abs(told - moved / self.moved_bytes) for told, moved in self.seen]


def test_the_progress_of_a_backup_and_of_its_restore_is_true(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    make_image(source, "qcow2", DISK_SIZE, *WRITES)
    make_image(target, "qcow2", DISK_SIZE)

    reading = Truth(engine)
    with monkeypatch.context() as patched, serve(source, "qcow2") as server:
        read = reading.counted(NbdClient.read, lambda _client, _offset, size: size)
        patched.setattr(NbdClient, "read", read)
        image = engine.back_up(server.uri, DISK_SIZE).image

    writing = Truth(engine)
    with monkeypatch.context() as patched, serve(target, "qcow2", read_only=False) as server:
        write = writing.counted(NbdClient.write, lambda _client, _offset, data: len(data))
        patched.setattr(NbdClient, "write", write)
        engine.restore(image, server.uri, fresh=True)

    for each in (reading, writing):
        assert each.moved_bytes == DATA_SIZE
        assert len(each.seen) > 3
        assert each.seen[-1][0] == 1
        assert max(each.errors()) <= ERROR_MAX

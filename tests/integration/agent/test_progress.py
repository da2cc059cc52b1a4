"""What a copy tells of its progress, beside what its disk's server has really been asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.blockio.qemu_nbd import QemuNbd
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
    """Looks at what the disk's server has read or written, beside each report."""

    def __init__(self, engine: Engine, server: QemuNbd, counter: str) -> None:
        """`counter` is a line of /proc/<pid>/io: `rchar` or `wchar`."""
        self._server = server
        self._counter = counter
        self._before_bytes = self._moved()
        #: (share that was told, bytes that were moved by then)
        self.seen: list[tuple[float, int]] = []
        engine.on_report = self._report

    def _moved(self) -> int:
        text = Path(f"/proc/{self._server.pid}/io").read_text(encoding="ascii")
        return next(
            int(line.split()[1]) for line in text.splitlines() if line.startswith(self._counter)
        )

    def _report(self, progress: Progress) -> None:
        if progress.total_bytes:
            share = progress.done_bytes / progress.total_bytes
            self.seen.append((share, self._moved() - self._before_bytes))

    def require_true(self) -> None:
        assert len(self.seen) > 3
        last_share, all_bytes = self.seen[-1]
        assert last_share == 1
        assert all_bytes >= DATA_SIZE
        assert max(abs(told - moved / all_bytes) for told, moved in self.seen) <= ERROR_MAX


def test_the_progress_of_a_backup_and_of_its_restore_is_true(
    tmp_path: Path, engine: Engine
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    make_image(source, "qcow2", DISK_SIZE, *WRITES)
    make_image(target, "qcow2", DISK_SIZE)

    with serve(source, "qcow2") as server:
        reading = Truth(engine, server, "rchar")
        image = engine.back_up(server.uri, DISK_SIZE).image
    with serve(target, "qcow2", read_only=False) as server:
        writing = Truth(engine, server, "wchar")
        engine.restore(image, server.uri, fresh=True)

    reading.require_true()
    writing.require_true()

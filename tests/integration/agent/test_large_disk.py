"""A sparse disk of 16 TiB: as much memory as a small one, and the same bytes again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csbs.blockio.qemu_img import add_bitmap
from tests.integration.agent.engine import Engine, open_engine, serve
from tests.integration.blockio.servers import make_image, tool, write_image

MIB, TIB = 1024**2, 1024**4
SIZE = 16 * TIB
#: What a copy of a small disk takes too: buffers of pieces and threads.
MEMORY_MAX = 128 * MIB
BITMAP = "since"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path) as engine:
        yield engine


def status_bytes(name: str) -> int:
    """A figure of this process, such as VmRSS, or VmHWM, its highest."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return next(
        int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(f"{name}:")
    )


def more_memory_bytes(work: Callable[[], object]) -> int:
    """How much more memory than before it took at most."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from now
    before_bytes = status_bytes("VmRSS")
    work()
    return status_bytes("VmHWM") - before_bytes


def test_full_increment_and_restore(tmp_path: Path, engine: Engine) -> None:
    disk, target = tmp_path / "disk", tmp_path / "target"
    make_image(disk, "qcow2", SIZE, "write -P 1 0 1M", "write -P 2 8T 1M", "write -P 3 15T 1M")
    make_image(target, "qcow2", SIZE)
    made = []

    def full() -> None:
        with serve(disk, "qcow2") as server:
            made.append(engine.back_up(server.uri, SIZE).image)

    def increment() -> None:
        with serve(disk, "qcow2", bitmap=BITMAP) as server:
            context = f"qemu:dirty-bitmap:{BITMAP}"
            result = engine.back_up(server.uri, SIZE, parent=made[0], dirty_context=context)
            assert result.read_bytes == MIB
            made.append(result.image)

    def restore() -> None:
        with serve(target, "qcow2", read_only=False) as server:
            engine.restore(made[-1], server.uri, fresh=True)

    assert more_memory_bytes(full) < MEMORY_MAX
    add_bitmap(disk, BITMAP)
    write_image(disk, "qcow2", "write -P 4 4T 1M")
    assert more_memory_bytes(increment) < MEMORY_MAX
    assert more_memory_bytes(restore) < MEMORY_MAX
    tool("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", str(disk), str(target))

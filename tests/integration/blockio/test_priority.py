"""Low priority, as the kernel has it."""

from __future__ import annotations

import platform
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from csbs.blockio import priority
from csbs.blockio.priority import NICE, lower_own_priority
from csbs.blockio.qemu_nbd import NbdImage, start_qemu_nbd
from tests.integration.blockio.servers import make_image, priority_of, tool

LOW = (NICE, "best-effort: prio 7")


@pytest.mark.parametrize("low", [True, False])
def test_qemu_nbd_is_low_with_all_its_threads(tmp_path: Path, *, low: bool) -> None:
    disk = tmp_path / "disk"
    make_image(disk, "qcow2", 1024**2)
    image = NbdImage(path=str(disk), format="qcow2", export="vda", read_only=True, low_priority=low)
    usual = priority_of(threading.get_native_id())
    with start_qemu_nbd(image, socket=tmp_path / "sock", pid_file=None) as server:
        threads = [int(each.name) for each in Path(f"/proc/{server.pid}/task").iterdir()]
        found = {priority_of(thread) for thread in threads}

    assert found == {LOW if low else usual}


def test_a_thread_is_low_with_what_it_starts_and_no_other() -> None:
    usual = priority_of(threading.get_native_id())
    with ThreadPoolExecutor(1, initializer=lower_own_priority) as pool:
        own = pool.submit(lambda: priority_of(threading.get_native_id())).result()
        nice = pool.submit(tool, "nice").result()

    assert (own, int(nice)) == (LOW, NICE)
    assert priority_of(threading.get_native_id()) == usual != LOW


def test_where_it_may_not_be_set_a_warning_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "another")
    priority._warn.cache_clear()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):
            pool.submit(lower_own_priority).result()

    assert [each.message for each in caplog.records] == ["csbs copies at the usual priority"]

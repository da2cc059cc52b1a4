"""The server is killed while it takes objects: nothing is lost, nothing is there twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from csbs.repository.objectstore import RetryingStore, RetryPolicy
from csbs.testing.repositories import Lab, noise
from csbs.testing.seaweedfs import SeaweedFS, seaweedfs_running

OBJECTS = 60
SIZE = 300_000
#: So many objects are there when it is killed, at least.
BEFORE = 10


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[SeaweedFS]:
    with seaweedfs_running(tmp_path / "seaweedfs") as server:
        yield server


class KillingPolicy:
    """Kills the server when enough was put, and lets it come back when somebody missed it."""

    def __init__(self, server: SeaweedFS) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._put = 0
        self.missed = 0

    def one_is_put(self) -> None:
        with self._lock:
            self._put += 1
            if self._put == BEFORE:
                self._server.kill()

    def wait(self, seconds: float) -> None:
        """In the place of a sleep between attempts."""
        with self._lock:
            if not self.missed:
                self._server.start()
            self.missed += 1
        threading.Event().wait(min(seconds, 0.1))


def test_all_objects_are_there_once_after_a_kill(own_server: SeaweedFS) -> None:
    killing = KillingPolicy(own_server)
    policy = RetryPolicy(
        timeout_s=120, attempts_max=1000, cancelled=lambda: False, sleep=killing.wait
    )
    store = RetryingStore(own_server.store("kill"), policy)
    expected = {f"packs/{n:02d}": noise(n, SIZE) for n in range(OBJECTS)}

    def put(key: str) -> None:
        store.put(key, [expected[key][:1000], expected[key][1000:]])
        killing.one_is_put()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, expected))

    assert killing.missed
    listed = [(info.key, info.size_bytes) for info in store.list("")]
    assert sorted(listed) == [(key, SIZE) for key in sorted(expected)]
    assert {key: store.get(key) for key in expected} == expected


def test_a_backup_goes_on_over_a_kill(own_server: SeaweedFS, tmp_path: Path) -> None:
    killing = KillingPolicy(own_server)
    policy = RetryPolicy(
        timeout_s=120, attempts_max=1000, cancelled=lambda: False, sleep=killing.wait
    )
    lab = Lab(RetryingStore(own_server.store("kill"), policy), tmp_path)
    first = lab.back_up(noise(1, 40 * 65536))
    own_server.kill()
    second = lab.back_up(noise(2, 40 * 65536))
    lab.close()

    assert killing.missed
    assert lab.restored(first) == noise(1, 40 * 65536)
    assert lab.restored(second) == noise(2, 40 * 65536)
    assert len(list(lab.repository.manifests())) == 2

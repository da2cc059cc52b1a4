from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from csbs.testing.fake_driver import FakeServer
from csbs.testing.live_api import LiveApi, live_api

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Served:
    """A live service with one server, whose disks are real images."""

    api: LiveApi
    server: FakeServer

    @property
    def keystone(self) -> str:
        return f"{self.api.url}/v3"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with live_api(tmp_path) as api:
        server = api.driver.add_server("web", {"vda": 4 * MIB, "vdb": 2 * MIB})
        server.write("vda", offset=0, size=MIB, pattern=7)
        yield Served(api, server)

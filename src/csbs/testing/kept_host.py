"""A fake host that outlives its processes: what its servers are is kept in a file.

Images, jobs and the processes that serve them are real anyhow; so a service over this host can be
killed, and its next life finds what the former one left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from csbs.domain.clock import new_id
from csbs.domain.ids import ServerId, TrackingName
from csbs.domain.server import ServerState
from csbs.testing.fake_driver import FakeDriver, FakeServer

_FILE = "server.json"


def make_host(folder: Path, servers: Mapping[str, Mapping[str, int]]) -> None:
    """Makes running servers with empty disks: sizes in bytes by target, by name."""
    driver = FakeDriver(folder, new_id=new_id)
    for name, disks in servers.items():
        server = driver.add_server(name, disks)
        server.changed = _keep
        server.start()


def kept_host(folder: Path) -> FakeDriver:
    """The host as its last process left it; changes are kept."""
    driver = FakeDriver(folder, new_id=new_id)
    for server in kept_servers(folder):
        driver.adopt_server(server)
    return driver


def kept_servers(folder: Path) -> list[FakeServer]:
    """Its servers, as they are now."""
    return [_read(file) for file in sorted(folder.glob(f"*/{_FILE}"))]


def _keep(server: FakeServer) -> None:
    facts = {
        "id": server.id,
        "name": server.name,
        "targets": server.targets,
        "state": server.state,
        "autostart": server.autostart,
        "checkpoints": server.checkpoints,
        "broken": sorted(server.broken),
    }
    file = server.folder / _FILE
    new = file.with_suffix(".new")
    new.write_text(json.dumps(facts), encoding="utf-8")
    new.replace(file)


def _read(file: Path) -> FakeServer:
    facts = json.loads(file.read_text(encoding="utf-8"))
    return FakeServer(
        id=ServerId(facts["id"]),
        name=facts["name"],
        folder=file.parent,
        targets=tuple(facts["targets"]),
        state=ServerState(facts["state"]),
        autostart=facts["autostart"],
        checkpoints=[TrackingName(name) for name in facts["checkpoints"]],
        broken={TrackingName(name) for name in facts["broken"]},
        changed=_keep,
    )

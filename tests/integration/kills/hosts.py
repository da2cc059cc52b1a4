"""Hosts of servers for a service that is killed: a fake one, and a real libvirt."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from csbs.blockio.processes import run_tool
from csbs.blockio.qemu_img import image_info
from csbs.compute.base import ComputeDriver
from csbs.compute.libvirt import LibvirtDriver
from csbs.compute.libvirt.folders import HostFolders
from csbs.config import Settings
from csbs.domain.clock import new_id, sleep
from csbs.domain.ids import ServerId
from csbs.domain.server import ServerState
from csbs.testing.driver_contract import MIB
from csbs.testing.fake_driver import FakeServer
from csbs.testing.kept_host import kept_host, kept_servers, make_host
from csbs.testing.libvirt_daemon import libvirt_running
from csbs.testing.libvirt_domains import PREFIX, DomainDisk, DomainServer, domain_server

_NAMES = ("web", "db")
_SIZES = {"vda": 4 * MIB, "vdb": 2 * MIB}


class Victim(Protocol):
    """A server that the service works on, as it is seen from outside."""

    @property
    def id(self) -> ServerId:
        """What csbs calls it."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Of its disks, in bytes, by target."""

    def write(self, target: str, *, offset: int, size: int, pattern: int) -> None:
        """Writes one byte value over a range."""

    def content(self) -> dict[str, bytes]:
        """What is on the disks now, by target."""

    def is_running(self) -> bool:
        """Whether it is in service."""

    def tracking(self) -> Collection[str]:
        """Names of checkpoints, and of bitmaps in the images."""

    def leftovers(self) -> list[str]:
        """Jobs, and files of jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillHost:
    """Where the service works."""

    settings: Settings
    driver: ComputeDriver
    #: Of the service's process.
    command: list[str]
    victims: list[Victim]


class FakeVictim:
    """See `Victim`; its state is what its file says at each call."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.id = self._now().id
        self.sizes: Mapping[str, int] = _SIZES

    def write(self, target: str, *, offset: int, size: int, pattern: int) -> None:
        """See `Victim.write`."""
        self._now().write(target, offset=offset, size=size, pattern=pattern)

    def content(self) -> dict[str, bytes]:
        """See `Victim.content`."""
        return {target: self._now().content(target) for target in self.sizes}

    def is_running(self) -> bool:
        """See `Victim.is_running`."""
        return self._now().state is ServerState.RUNNING

    def tracking(self) -> Collection[str]:
        """See `Victim.tracking`."""
        return {*self._now().checkpoints, *_bitmaps(self._now().path(each) for each in _SIZES)}

    def leftovers(self) -> list[str]:
        """See `Victim.leftovers`."""
        return [str(path) for path in self._now().folder.glob("job-*")]

    def _now(self) -> FakeServer:
        [found] = [each for each in kept_servers(self._folder) if each.name == self._name]
        return found


class DomainVictim:
    """See `Victim`."""

    def __init__(self, server: DomainServer, folders: HostFolders) -> None:
        self._server = server
        self._folders = folders
        self.id = server.id
        self.sizes = {target: disk.size_bytes for target, disk in server.disks.items()}

    def write(self, target: str, *, offset: int, size: int, pattern: int) -> None:
        """See `Victim.write`."""
        self._server.write(target, offset=offset, size=size, pattern=pattern)

    def content(self) -> dict[str, bytes]:
        """See `Victim.content`."""
        return {target: self._content(target) for target in self.sizes}

    def is_running(self) -> bool:
        """See `Victim.is_running`."""
        return self._server.state() == "running"

    def tracking(self) -> Collection[str]:
        """See `Victim.tracking`: bitmaps are in the images of a stopped server only."""
        return self._server.checkpoints()

    def leftovers(self) -> list[str]:
        """See `Victim.leftovers`."""
        left = [str(path) for path in self._folders.leftovers(self.id)]
        return [*left, *(["a job of libvirt"] if self._server.has_job() else [])]

    def _content(self, target: str) -> bytes:
        if self._server.is_active():
            self._server.flush(target)
        raw = self._server.folder / f"{target}.seen"
        image_format = self._server.disks[target].format
        image = str(self._server.path(target))
        run_tool(
            ["qemu-img", "convert", "-U", "-f", image_format, "-O", "raw", image, str(raw)],
            doing=f"reading {image}",
            timeout_s=60,
        )
        content = raw.read_bytes()
        raw.unlink()
        return content


def _bitmaps(images: Iterator[Path]) -> set[str]:
    return {
        bitmap.name
        for image in images
        for bitmap in image_info(image, image_format="qcow2").bitmaps
    }


def fake_host(folder: Path, **settings: object) -> KillHost:
    """Two running servers that are made up; `folder` must have a short path."""
    host = folder / "host"
    make_host(host, dict.fromkeys(_NAMES, _SIZES))
    return KillHost(
        settings=_settings(folder, run=folder / "run", scratch=folder / "scratch", **settings),
        driver=kept_host(host),
        command=[sys.executable, "-m", "csbs.testing.fake_service", str(host)],
        victims=[FakeVictim(host, name) for name in _NAMES],
    )


@contextmanager
def libvirt_host(folder: Path, **settings: object) -> Iterator[KillHost]:
    """Two running domains without a guest system."""
    name = f"{PREFIX}{new_id()[:8]}"
    run, scratch = Path("/run") / name, Path("/var/lib") / name
    disks = [
        *(DomainDisk(target=target, size_bytes=size) for target, size in _SIZES.items()),
        DomainDisk(target="vdc", size_bytes=MIB, format="raw"),
    ]
    with libvirt_running() as uri, ExitStack() as stack:
        for each in (run, scratch):
            stack.callback(shutil.rmtree, each, ignore_errors=True)
        # There is no guest system that could shut down.
        more = {"libvirt_uri": uri, "stop_timeout_s": 1} | settings
        chosen = _settings(folder, run=run, scratch=scratch, **more)
        folders = HostFolders(run=run, scratch=scratch)
        victims: list[Victim] = []
        for _ in _NAMES:
            server = stack.enter_context(domain_server(disks, new_id=new_id, sleep=sleep))
            server.start()
            victims.append(DomainVictim(server, folders))
        yield KillHost(
            settings=chosen,
            driver=LibvirtDriver(uri, run_folder=run, scratch_folder=scratch),
            command=[sys.executable, "-c", "import csbs.cli.main as main; main.main()", "serve"],
            victims=victims,
        )


def _settings(folder: Path, *, run: Path, scratch: Path, **more: object) -> Settings:
    return Settings.model_validate(
        {"data_dir": folder / "data", "run_dir": run, "scratch_dir": scratch} | more
    )

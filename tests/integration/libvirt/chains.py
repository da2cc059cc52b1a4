"""The server of the chains, how its disks are read, and how a chain begins and goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from csbs.app import open_app
from csbs.compute.libvirt.folders import HostFolders
from csbs.config import Settings
from csbs.domain.clock import new_id, sleep
from csbs.testing.chain import Chain, told
from csbs.testing.libvirt_domains import DomainDisk, domain_server

KIB = 1024
MIB = 1024 * KIB

#: Clusters of 4 KiB are less than a block of csbs, and changes are then tracked in such a grain.
DISKS = (
    DomainDisk(target="vda", size_bytes=4 * MIB),
    DomainDisk(target="vdb", size_bytes=2 * MIB, cluster_size_bytes=4 * KIB),
    DomainDisk(target="vdc", size_bytes=MIB, format="raw"),
)

FIRST = "full: first backup of this disk"
NEW_SIZE = "full: taken for a new disk: the one at its path had another size"
TRACKED = "incremental: changes are tracked"
RAW = "rescan: changes of raw images cannot be tracked"
NETWORK = "rescan: changes of images that are no local file or device cannot be tracked"
NOT_CLOSED = "rescan: its tracking is damaged: the server was not shut down cleanly"
NO_BITMAP = "rescan: its bitmap is gone: an unclean shutdown, or somebody changed its image"
SWITCHED_OFF = "rescan: its tracking is damaged: somebody switched its bitmap off"
NO_CHECKPOINT = "rescan: its tracking is damaged: somebody deleted its checkpoint"
GONE = "rescan: its tracking is gone"
REPLACED = "rescan: its image file was replaced, or got another backing file"

ALL_FIRST = {"vda": FIRST, "vdb": FIRST, "vdc": FIRST}
ALL_TRACKED = {"vda": TRACKED, "vdb": TRACKED, "vdc": RAW}


def moved(path: Path) -> str:
    """How a disk is read whose image is now there."""
    return f"rescan: its image moved to {path}"


def resized(former: int, now: int) -> str:
    """How a disk is read that has another size, in MiB."""
    return f"rescan: its size changed from {former * MIB} to {now * MIB} bytes"


@contextmanager
def new_chain(
    settings: Settings, *, seed: int, tmp: Path, disks: Sequence[DomainDisk] = DISKS
) -> Iterator[Chain]:
    """A chain without backups; its server is stopped."""
    folders = HostFolders(run=settings.run_dir, scratch=settings.scratch_dir)
    with (
        open_app(settings) as app,
        domain_server(disks, new_id=new_id, sleep=sleep) as server,
    ):
        yield Chain(app, server, folders=folders, tmp=tmp, seed=seed)


def begin_running(chain: Chain) -> None:
    """Starts the server and backs it up twice."""
    chain.server.start()
    assert next_backup(chain) == ALL_FIRST
    assert next_backup(chain) == ALL_TRACKED


def next_backup(chain: Chain) -> dict[str, str]:
    """Lets the server write, backs it up, and says how each disk was read, and why."""
    chain.scribble()
    return told(chain.back_up())


def go_on(chain: Chain) -> None:
    """Whatever happened: tracking works again, and no backup was hurt."""
    assert next_backup(chain) == ALL_TRACKED
    assert next_backup(chain) == ALL_TRACKED
    chain.check_all()

"""A chain of backups of a running server, byte for byte against a model of its disks."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from csbs.compute.base import BackupJob, JobDisk, JobRequest
from csbs.compute.libvirt import LibvirtDriver
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.ids import BackupId, TrackingName
from csbs.testing.driver_contract import MIB, changed
from csbs.testing.libvirt_domains import DomainServer, read_export

pytestmark = pytest.mark.host

SIZES = {"vda": 8 * MIB, "vdb": 4 * MIB, "vdc": 2 * MIB}
WRITES_A_ROUND = 8


class Model:
    """What the disks hold, and which blocks were touched since the last backup."""

    def __init__(self, server: DomainServer, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self.content = {target: bytearray(size) for target, size in SIZES.items()}
        self.touched: dict[str, set[int]] = {target: set() for target in SIZES}

    def scribble(self) -> None:
        """Writes data and zeroes over random ranges of all disks."""
        for target, size in SIZES.items():
            for _ in range(WRITES_A_ROUND):
                self._write(target, self._random.randrange(0, size, 512))

    def _write(self, target: str, offset: int) -> None:
        size = min(self._random.choice([512, 4096, 3 * BLOCK_SIZE]), SIZES[target] - offset)
        pattern = self._random.randrange(4)
        if pattern:
            self._server.write(target, offset=offset, size=size, pattern=pattern)
        else:
            self._server.zero(target, offset=offset, size=size)
        self.content[target][offset : offset + size] = bytes([pattern]) * size
        last = (offset + size - 1) // BLOCK_SIZE
        self.touched[target].update(range(offset // BLOCK_SIZE, last + 1))


def _begin(
    driver: LibvirtDriver, server: DomainServer, backup_id: str, since: TrackingName | None
) -> BackupJob:
    disks = [
        JobDisk(target="vda", since=since),
        JobDisk(target="vdb", since=since),
        JobDisk(target="vdc"),
    ]
    return driver.begin_backup(
        JobRequest(server_id=server.id, backup_id=BackupId(backup_id), disks=disks)
    )


def _blocks(job: BackupJob, target: str) -> set[int]:
    return {block for first, count in changed(job, target) for block in range(first, first + count)}


def test_every_backup_of_a_chain_is_exact_while_the_server_writes(
    driver: LibvirtDriver, offline_server: DomainServer, tmp_path: Path
) -> None:
    server = offline_server
    server.start()
    model = Model(server, seed=8)
    model.scribble()
    since: TrackingName | None = None
    for number in range(4):
        expected = {target: bytes(content) for target, content in model.content.items()}
        touched, model.touched = model.touched, {target: set() for target in SIZES}
        job = _begin(driver, server, f"b{number}", since)
        model.scribble()

        read = {target: read_export(job.exports[target].uri, tmp_path) for target in SIZES}
        reported = {t: _blocks(job, t) for t in ("vda", "vdb")} if since else {}
        job.check()
        job.end()

        assert read == expected
        assert reported == ({t: touched[t] for t in ("vda", "vdb")} if since else {})
        assert [job.exports[target].tracked for target in SIZES] == [True, True, False]
        assert job.exports["vdc"].dirty_context is None
        since = job.tracking

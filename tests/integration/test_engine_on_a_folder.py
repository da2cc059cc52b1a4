"""A stopped qcow2 through qemu-nbd into a folder: full, increments, restores, byte for byte."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from csbs.agent.backup_disk import CopyOptions, DiskCopy, back_up_disk
from csbs.agent.restore_disk import DiskTarget, RestoreOptions, restore_disk
from csbs.blockio.qemu_img import add_bitmap, create_image
from csbs.blockio.qemu_nbd import NbdImage, start_qemu_nbd
from csbs.domain.errors import Corrupt
from csbs.domain.task import Progress
from csbs.repository import ContentIndex, Image, Manifest, Repository
from csbs.repository.objectstore import FolderStore

MIB = 1024**2
#: No multiple of a block, so that the last one is partial.
SIZE = 96 * MIB + 12 * 512
NOW = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.host


def ignore(_progress: Progress) -> None:
    """Nobody looks."""


def never() -> bool:
    return False


def qemu_io(path: Path, *commands: str) -> None:
    arguments = [part for command in commands for part in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *arguments, path], check=True, capture_output=True)


def digest(path: Path) -> str:
    """SHA-256 of what a server would read from the image."""
    raw = path.with_suffix(".raw")
    subprocess.run(
        ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True, timeout=60
    )
    return hashlib.sha256(raw.read_bytes()).hexdigest()


class Bench:
    """One disk, its repository in a folder, and the way between both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = folder / "disk.qcow2"
        store = FolderStore(folder / "store", min_free=lambda _: 0)
        store.make()
        self.repository = Repository.open(
            store,
            name=str(folder),
            catalog_id=str(uuid4()),
            clock=lambda: NOW,
            new_id=lambda: str(uuid4()),
        )
        self.index = ContentIndex(folder / "index.sqlite")

    def back_up(self, parent: Image | None, since: str | None) -> tuple[Manifest, int]:
        """Returns the manifest, and how many bytes were read."""
        image = NbdImage(
            path=str(self.disk), format="qcow2", export="vda", read_only=True, bitmap=since
        )
        writer = self.repository.begin(str(uuid4()), started_at=NOW, index=self.index)
        with start_qemu_nbd(image, socket=self.folder / "nbd.sock", pid_file=None) as server:
            copy = DiskCopy(
                disk="vda of server web",
                uri=server.uri,
                size_bytes=SIZE,
                dirty_context=f"qemu:dirty-bitmap:{since}" if since else None,
            )
            result = back_up_disk(
                copy,
                writer.image("d", SIZE, parent=parent),
                CopyOptions(),
                progress=ignore,
                cancelled=never,
            )
        return writer.commit(created_at=NOW, facts={}), result.read_bytes

    def restored(self, manifest: Manifest) -> str:
        """Digest of a new disk that was restored from the backup."""
        target = self.folder / f"{manifest.backup_id}.qcow2"
        create_image(target, image_format="qcow2", size_bytes=SIZE)
        image = NbdImage(path=str(target), format="qcow2", export="vda", read_only=False)
        with start_qemu_nbd(image, socket=self.folder / "out.sock", pid_file=None) as server:
            restore_disk(
                DiskTarget(disk="vda of server web", uri=server.uri, image_size_bytes=SIZE),
                self.repository.reader(manifest.images[0]),
                RestoreOptions(),
                progress=ignore,
                cancelled=never,
            )
        return digest(target)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    create_image(made.disk, image_format="qcow2", size_bytes=SIZE)
    qemu_io(made.disk, "write -P 1 0 3M", "write -P 2 40M 5M", f"write -P 3 {SIZE - 1536} 1536")
    return made


def changes(seed: int) -> list[str]:
    """Random writes, zero writes and discards, at any sector."""
    chance = random.Random(seed)
    made = []
    for _ in range(12):
        offset = chance.randrange(0, SIZE - MIB, 512)
        size = chance.randrange(512, MIB, 512)
        kind = chance.choice([f"write -P {chance.randrange(1, 255)}", "write -z -u", "discard"])
        made.append(f"{kind} {offset} {size}")
    return made


def test_increments_restore_byte_for_byte_after_the_first_was_deleted(bench: Bench) -> None:
    expected = {}
    manifests: list[Manifest] = []
    since = None
    for seed in range(4):
        if seed:
            qemu_io(bench.disk, *changes(seed))
        expected_digest = digest(bench.disk)
        add_bitmap(bench.disk, f"csbs-{seed}")
        parent = manifests[-1].images[0] if manifests else None
        manifest, read_bytes = bench.back_up(parent, since)
        since = f"csbs-{seed}"
        manifests.append(manifest)
        expected[manifest.backup_id] = expected_digest
        assert read_bytes < 32 * MIB

    first = manifests.pop(0)
    bench.repository.delete(first.key, first.backup_id, deleted_at=NOW)
    bench.repository.collect(bench.index)

    assert [bench.restored(each) for each in manifests] == [
        expected[each.backup_id] for each in manifests
    ]


def test_a_backup_without_change_stores_next_to_nothing(bench: Bench) -> None:
    add_bitmap(bench.disk, "csbs-0")
    first, _ = bench.back_up(None, None)

    second, read_bytes = bench.back_up(first.images[0], "csbs-0")

    assert (read_bytes, second.stored_bytes) == (0, 0)
    assert second.images[0].root == first.images[0].root


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1], id="shorter"),
        pytest.param(lambda data: data[:200] + b"\xff" + data[201:], id="changed"),
    ],
)
def test_a_damaged_pack_never_restores(bench: Bench, damage: Callable[[bytes], bytes]) -> None:
    manifest, _ = bench.back_up(None, None)
    for path in (bench.folder / "store" / "packs").rglob("*"):
        if path.is_file():
            path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(Corrupt):
        bench.restored(manifest)

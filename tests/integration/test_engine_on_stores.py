"""The whole engine on a folder and on S3: a stopped disk is backed up, goes on, and comes back.

Neither side of a comparison is computed by the engine: `qemu-img` reads the source at its instant
and the restored image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.domain.clock import utc_now
from csbs.repository import Image
from csbs.repository.objectstore import FolderStore, ObjectStore
from csbs.testing.any_s3 import S3Service
from tests.integration.agent.engine import Engine, open_engine, serve
from tests.integration.blockio.servers import content, make_image, tool, write_image

MIB = 1024**2
SIZE = 64 * MIB + 512


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.any_s3)])
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    store: ObjectStore
    if request.param == "folder":
        store = folder = FolderStore(tmp_path / "store", min_free=lambda _: 0)
        folder.make()
    else:
        service: S3Service = request.getfixturevalue("any_s3")
        store = service.store(service.new_place())
    with open_engine(tmp_path, store) as engine:
        yield engine


def sha256(path: Path) -> str:
    return hashlib.sha256(content(path, "qcow2")).hexdigest()


def real_data(folder: Path) -> Path:
    """A file of bytes that compress as code does."""
    data = Path("/usr/bin/qemu-img").read_bytes()
    path = folder / "data"
    path.write_bytes((data * (2 * MIB // len(data) + 1))[: 2 * MIB])
    return path


def back_up(engine: Engine, disk: Path, parent: Image | None, bitmap: str | None) -> Image:
    """A backup by this bitmap; the next one can go on from the bitmap `after-<number>`."""
    with serve(disk, "qcow2", bitmap=bitmap) as server:
        return engine.back_up(
            server.uri,
            SIZE,
            parent=parent,
            dirty_context=f"qemu:dirty-bitmap:{bitmap}" if bitmap else None,
        ).image


def track(disk: Path, name: str) -> str:
    tool("qemu-img", "bitmap", "--add", "-f", "qcow2", str(disk), name)
    return name


def test_full_increments_deletion_collection_and_restore(tmp_path: Path, engine: Engine) -> None:
    disk = tmp_path / "disk"
    file = real_data(tmp_path)
    make_image(disk, "qcow2", SIZE, f"write -s {file} 1M 2M", "write -P 7 20M 3M")
    bitmap = track(disk, "first")
    images, hashes = [back_up(engine, disk, None, None)], [sha256(disk)]

    for number, commands in enumerate(
        [
            (f"write -s {file} 10000k 2M", "write -z -u 21M 1M", f"write -P 5 {SIZE - 512} 512"),
            ("discard 1M 1M", "write -P 3 40M 100k", "write -P 0 22M 64k"),
            (f"write -s {file} 1M 2M",),
        ]
    ):
        write_image(disk, "qcow2", *commands)
        following = track(disk, f"after-{number}")
        images.append(back_up(engine, disk, images[-1], bitmap))
        hashes.append(sha256(disk))
        bitmap = following
    assert len(set(hashes)) == len(hashes)

    delete(engine, images[0])
    delete(engine, images[2])
    engine.repository.collect(engine.index)

    for number in (3, 1):
        restored = tmp_path / f"restored-{number}"
        make_image(restored, "qcow2", SIZE, "write -P 9 0 64M")
        with serve(restored, "qcow2", read_only=False) as server:
            engine.restore(images[number], server.uri)
        assert sha256(restored) == hashes[number]
    tool(
        "qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", str(disk), str(tmp_path / "restored-3")
    )


def delete(engine: Engine, image: Image) -> None:
    manifest = next(
        each for each in engine.repository.manifests() if each.images[0].root == image.root
    )
    engine.repository.delete(manifest.key, manifest.backup_id, deleted_at=utc_now())


def test_a_disk_that_was_shrunk_and_grown_again_comes_back_with_its_zeroes(
    tmp_path: Path, engine: Engine
) -> None:
    disk = tmp_path / "disk"
    make_image(disk, "qcow2", SIZE, "write -P 7 1M 1M", "write -P 8 40M 1M")
    bitmap = track(disk, "first")
    first = back_up(engine, disk, None, None)
    for size in (8 * MIB, SIZE):  # no bitmap hears of this
        tool("qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", str(disk), str(size))

    second = back_up(engine, disk, first, bitmap)

    assert engine.content(second) == content(disk, "qcow2")
    assert second.changed_blocks == 0
    assert second.nonzero_blocks == MIB // 65536


def test_an_image_copied_over_another_is_seen_by_its_allocation(
    tmp_path: Path, engine: Engine
) -> None:
    disk, other = tmp_path / "disk", tmp_path / "other"
    make_image(disk, "qcow2", SIZE, "write -P 7 1M 1M")
    make_image(other, "qcow2", SIZE, "write -P 8 30M 1M")
    bitmap = track(disk, "first")
    track(other, "first")
    first = back_up(engine, disk, None, None)
    disk.write_bytes(other.read_bytes())

    second = back_up(engine, disk, first, bitmap)

    assert engine.content(second) == content(disk, "qcow2")

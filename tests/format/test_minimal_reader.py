"""The format's page suffices: a reader written from it alone gives the engine's bytes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import Rotation, text_object
from csbs.repository.objectstore import FolderStore
from csbs.testing.repositories import START, Lab, noise, write_image
from tests.format import minimal_reader

LEAF = 512 * BLOCK_SIZE


def test_it_shares_no_code_with_the_engine() -> None:
    tree = ast.parse(Path(minimal_reader.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert not [name for name in imported if name.startswith("csbs")]


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("opened_by", ["nothing", "region", "recovery"])
def test_both_readers_give_the_same_bytes(tmp_path: Path, opened_by: str) -> None:
    store = FolderStore(tmp_path / "store", min_free=lambda _: 0)
    store.make()
    lab = Lab(store, tmp_path, encrypted=opened_by != "nothing")
    first = lab.back_up(noise(1, 5 * BLOCK_SIZE) + b"text" * 30000 + bytes(BLOCK_SIZE) + b"end")
    second = lab.back_up_blocks(2 * LEAF + 5, {2: noise(2), 700: noise(3)}, first.images[0])
    writer = lab.begin()
    write_image(writer, 0, {}, image_id="empty")
    write_image(writer, LEAF, {3: noise(4)}, second.images[0])
    third = writer.commit(created_at=START, facts={"name": "整机"})
    if opened_by != "nothing":
        lab.repository.rotate_key(Rotation.DATA)
        lab.repository = lab.opened()
    deleted = lab.back_up(noise(9))
    lab.repository.delete(deleted.key, deleted.backup_id, deleted_at=START)
    undeleted = lab.back_up(noise(8))
    lab.repository.delete(undeleted.key, undeleted.backup_id, deleted_at=START)
    end = text_object.encode(text_object.TOMBSTONE_END_MAGIC, {"end": "undeleted"})
    store.put(f"{undeleted.key}.tombstone-0001.end", [end])
    lab.begin().abort()
    keys = {"nothing": [""]}
    if opened_by != "nothing":
        (recovery_file,) = tmp_path.glob("recovery-*.key")
        keys |= {"region": _lines(tmp_path / "region.key"), "recovery": _lines(recovery_file)}
    reader = minimal_reader.Reader(tmp_path / "store", keys[opened_by][0])
    read = {
        (manifest["backup_id"], image["id"]): reader.disk(image)
        for manifest in reader.manifests()
        for image in manifest["images"]
    }

    assert read == {
        (manifest.backup_id, image.id): lab.restored(manifest, image.id)
        for manifest in (first, second, third, undeleted)
        for image in manifest.images
    }
    facts = {manifest["backup_id"]: manifest["facts"] for manifest in reader.manifests()}
    assert facts[third.backup_id] == {"name": "整机"}
    lab.close()


def test_it_notices_a_flipped_byte(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store", min_free=lambda _: 0)
    store.make()
    lab = Lab(store, tmp_path)
    lab.back_up(noise(1))
    lab.close()
    pack = next(path for path in (tmp_path / "store" / "packs").glob("*/*"))
    data = bytearray(pack.read_bytes())
    data[100] ^= 1
    pack.write_bytes(data)
    reader = minimal_reader.Reader(tmp_path / "store")

    (manifest,) = reader.manifests()

    with pytest.raises(minimal_reader.Damaged):
        reader.disk(manifest["images"][0])

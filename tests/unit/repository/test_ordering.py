"""What is put comes after all that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository.node import STORED, PackTable, decode_node
from csbs.repository.objectstore import MemoryStore
from csbs.repository.pack import Kind, pack_key
from csbs.repository.pack_reader import PackReader
from csbs.testing.faults import RecordingStore
from csbs.testing.repositories import Lab, noise


@pytest.fixture
def recorded() -> RecordingStore:
    return RecordingStore(MemoryStore())


@pytest.fixture(params=["plain", "encrypted"])
def lab(recorded: RecordingStore, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = Lab(recorded, tmp_path, encrypted=request.param == "encrypted")
    yield lab
    lab.close()


def test_every_object_is_put_after_what_it_names(lab: Lab, recorded: RecordingStore) -> None:
    first = lab.back_up(noise(1, 30 * BLOCK_SIZE))
    lab.back_up(noise(2, 3 * BLOCK_SIZE) + noise(1, 30 * BLOCK_SIZE), first.images[0])

    puts = [key for method, key in recorded.calls if method == "put"]
    before_config = [key.partition("/")[0] for key in puts[: puts.index("config")]]
    assert before_config == (["keys", "twins"] if lab.encryption.wanted else [])
    assert len([key for key in puts if key.startswith("packs/")]) > 8
    for place, key in enumerate(puts):
        missing = {named for named in _named(lab, key) if named not in puts[:place]}
        assert missing == set(), key


def _named(lab: Lab, key: str) -> set[str]:
    """Keys of all objects that this one names."""
    if key.startswith("packs/"):
        return _named_by_pack(lab, bytes.fromhex(key.rpartition("/")[2]))
    if key.startswith("manifests/"):
        images = lab.repository.manifest(key).images
        return {pack_key(image.root.pack_id) for image in images if image.root is not None}
    return set()


def _named_by_pack(lab: Lab, pack_id: bytes) -> set[str]:
    packs: PackReader = lab.repository._packs
    footer = packs.footer(pack_id)
    named: set[str] = set()
    for position in range(len(footer.slots)):
        if footer.kinds[position] != Kind.NODE:
            continue
        table = PackTable()
        slot = (int(footer.slots[position]), Kind.NODE)
        offset, size = int(footer.offsets[position]), int(footer.sizes[position])
        node = decode_node("node", packs.frames(pack_id, offset, size, [slot])[0], table)
        numbers = node.packs[node.states == STORED]
        named |= {pack_key(table.pack_id(int(number))) for number in numbers}
    return named - {pack_key(pack_id)}

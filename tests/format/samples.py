"""One value of each kind of object, and its bytes as this csbs writes them.

Their golden bytes lie in `golden/`.  A change of the format shows there; before the first release
`python -m tests.format.samples` writes them anew, afterwards they may only be added to.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from csbs.repository import Image, Manifest, text_object
from csbs.repository.damage import Damage, encode_damage
from csbs.repository.identity import Config, encode_config, encode_owner
from csbs.repository.manifest import ManifestKeys, encode_manifest
from csbs.repository.node import HOLE, STORED, ZERO, Address, Node, PackTable, encode_node
from csbs.repository.pack import Codec, Content, Frame, Kind, PackBuilder
from tests.format import sealed_samples

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 1, 31, 23, 30, 5, tzinfo=UTC)
PACK_ID = bytes(range(16))
OTHER_PACK_ID = bytes(range(16, 32))
DIGEST_KEY = bytes(range(32))
KEYS = ManifestKeys("11111111-2222-4333-8444-555555555555", bytes(range(32, 64)))
BACKUP_ID = "99999999-8888-4777-8666-555555555555"

CONFIG = Config(
    repository_id=KEYS.repository_id,
    created_at="2026-01-31T23:30:05Z",
    digest_key=DIGEST_KEY,
    mac_key=KEYS.mac_key,
)

MANIFEST = Manifest(
    key=f"manifests/2026-01/00000001-{BACKUP_ID}",
    backup_id=BACKUP_ID,
    owner=1,
    created_at=NOW,
    stored_bytes=123456,
    images=(
        Image(
            id="vda",
            size_bytes=40 * 1024**3,
            level=2,
            root=Address(PACK_ID, 7),
            root_digest=bytes(range(64, 96)),
            nonzero_blocks=1000,
            changed_blocks=10,
        ),
        Image(
            id="vdb",
            size_bytes=0,
            level=0,
            root=None,
            root_digest=b"",
            nonzero_blocks=0,
            changed_blocks=0,
        ),
    ),
    facts={"server": {"name": "web-整机"}, "disks": []},
)

DAMAGE = Damage({PACK_ID: frozenset({0, 5, 6, 7}), OTHER_PACK_ID: None})

FRAMES = [
    Frame(Kind.BLOCK, Codec.RAW, b"0123456789", 10, bytes([1]) * 32),
    Frame(Kind.BLOCK, Codec.ZSTD, b"not zstd", 20, bytes([2]) * 32),
    Frame(Kind.BLOCK, Codec.RAW, b"", 0, bytes([3]) * 32),
]


def table() -> PackTable:
    """Numbers of the packs that the sample nodes name."""
    packs = PackTable()
    packs.number(OTHER_PACK_ID)
    packs.number(PACK_ID)
    return packs


def leaf() -> Node:
    """A leaf with entries of all kinds, of two packs."""
    node = Node.uniform(0, HOLE)
    node.states[1:4] = ZERO
    node.states[[0, 300, 511]] = STORED
    node.packs[[0, 300, 511]] = np.array([1, 0, 1])
    node.slots[[0, 300, 511]] = np.array([5, 0x1234, 6])
    node.states[400] = 3
    return node


def inner() -> Node:
    """An inner node of level 1."""
    node = Node.uniform(1, ZERO)
    node.states[2], node.packs[2], node.slots[2] = STORED, 1, 258
    assert node.allocation is not None
    node.allocation[2] = leaf().allocation_value()
    return node


def pack() -> bytes:
    """A whole pack of blocks."""
    builder = PackBuilder(PACK_ID, Content.BLOCKS)
    for frame in FRAMES:
        builder.add(frame)
    return b"".join(builder.finish())


def samples() -> dict[str, bytes]:
    """The bytes of each kind of object, by the names of their golden files."""
    void = {"backup_id": BACKUP_ID, "reason": "aborted"}
    tombstone = {"backup_id": BACKUP_ID, "deleted_at": "2026-01-31T23:30:05Z"}
    return {
        "config": encode_config(CONFIG),
        "owner": encode_owner(KEYS.repository_id, NOW),
        "manifest": encode_manifest(MANIFEST, KEYS),
        "void": text_object.encode(text_object.VOID_MAGIC, void),
        "tombstone": text_object.encode(text_object.TOMBSTONE_MAGIC, tombstone),
        "tombstone-end": text_object.encode(text_object.TOMBSTONE_END_MAGIC, {"end": "purged"}),
        "damage": encode_damage(DAMAGE, NOW),
        "pack": pack(),
        "leaf": encode_node(leaf(), table()),
        "inner-node": encode_node(inner(), table()),
        **sealed_samples.samples(PACK_ID, FRAMES, MANIFEST),
    }


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, data in samples().items():
        (GOLDEN / f"{name}.bin").write_bytes(data)

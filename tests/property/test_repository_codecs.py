"""Round trips, and decoders that never raise a foreign error."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import numpy as np
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from csbs.domain.extents import block_count
from csbs.repository import Address, Image, Manifest, text_object
from csbs.repository.errors import CorruptObject
from csbs.repository.manifest import ManifestKeys, decode_manifest, encode_manifest
from csbs.repository.node import (
    DAMAGED,
    FANOUT,
    HOLE,
    STORED,
    Node,
    PackTable,
    decode_node,
    encode_node,
    root_level,
)
from csbs.repository.pack import (
    TRAILER_SIZE,
    Codec,
    Content,
    Frame,
    Kind,
    PackBuilder,
    decode_footer,
    decode_frame,
    decode_trailer,
)

KEYS = ManifestKeys("r", bytes(32))
BACKUP_ID = "b-1"

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)
_objects = st.dictionaries(st.text(st.characters(codec="utf-8")), _json, max_size=4)


@st.composite
def nodes(draw: st.DrawFn) -> Node:
    level = draw(st.integers(0, 4))
    node = Node.uniform(level, HOLE)
    states = draw(st.binary(min_size=FANOUT, max_size=FANOUT))
    node.states[:] = np.frombuffer(states, np.uint8) % (DAMAGED + 1)
    stored = node.states == STORED
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = int(stored.sum())
    node.packs[stored] = random.integers(0, draw(st.integers(1, 600)), count)
    node.slots[stored] = random.integers(0, 2**16, count)
    if node.allocation is not None:
        node.allocation[:] = random.integers(0, 2**32, FANOUT)
    return node


@st.composite
def images(draw: st.DrawFn) -> Image:
    size_bytes = draw(st.integers(0, 64 * 1024**4))
    root = draw(
        st.none() | st.builds(Address, st.binary(min_size=16, max_size=16), st.integers(0, 8191))
    )
    return Image(
        id=draw(st.text(st.characters(codec="utf-8"))),
        size_bytes=size_bytes,
        level=root_level(block_count(size_bytes)),
        root=root,
        root_digest=b"" if root is None else draw(st.binary(min_size=32, max_size=32)),
        nonzero_blocks=draw(st.integers(0, 2**40)),
        changed_blocks=draw(st.integers(0, 2**40)),
    )


def _table() -> PackTable:
    table = PackTable()
    for number in range(600):
        table.number(number.to_bytes(16, "little"))
    return table


@given(_objects)
def test_a_text_object_comes_back(fields: dict[str, object]) -> None:
    data = text_object.encode(b"CSBSXX01", fields, key=bytes(32))

    assert text_object.decode("x", b"CSBSXX01", data, key=bytes(32)) == fields


@given(st.binary(max_size=200))
def test_a_body_with_the_right_check_may_still_be_no_object(body: bytes) -> None:
    data = b"CSBSXX01\n" + blake3(body).hexdigest().encode() + b"\n" + body
    with contextlib.suppress(CorruptObject):
        assert isinstance(text_object.decode("x", b"CSBSXX01", data), dict)


@given(_objects, st.lists(images(), max_size=3), st.datetimes(timezones=st.just(UTC)))
def test_a_manifest_comes_back(
    facts: dict[str, object], some: list[Image], created_at: datetime
) -> None:
    manifest = Manifest(
        key=f"manifests/2026-01/00000001-{BACKUP_ID}",
        backup_id=BACKUP_ID,
        owner=1,
        created_at=created_at,
        stored_bytes=1,
        images=tuple(some),
        facts=facts,
    )

    assert decode_manifest(manifest.key, encode_manifest(manifest, KEYS), KEYS) == manifest


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "format",
                "repository_id",
                "backup_id",
                "owner",
                "created_at",
                "stored_bytes",
                "images",
                "facts",
            ]
        ),
        _json,
    )
)
def test_a_manifest_of_other_fields_is_damage(fields: dict[str, object]) -> None:
    good = text_object.decode(
        "k", text_object.MANIFEST_MAGIC, encode_manifest(_small(), KEYS), key=KEYS.mac_key
    )
    data = text_object.encode(
        text_object.MANIFEST_MAGIC, {**good, **fields, "format": 1}, key=KEYS.mac_key
    )
    with contextlib.suppress(CorruptObject):
        decode_manifest(_small().key, data, KEYS)


def _small() -> Manifest:
    return Manifest(
        key=f"manifests/2026-01/00000001-{BACKUP_ID}",
        backup_id=BACKUP_ID,
        owner=1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        stored_bytes=1,
        images=(),
        facts={},
    )


@given(nodes())
def test_a_node_comes_back(node: Node) -> None:
    table = _table()
    data = encode_node(node, table)
    again = decode_node("node", data, table)

    assert encode_node(again, table) == data
    assert again.level == node.level
    for mine, other in (
        (again.states, node.states),
        (again.packs, node.packs),
        (again.slots, node.slots),
        (again.allocation, node.allocation),
    ):
        assert (mine is None and other is None) or np.array_equal(mine, other)  # type: ignore[arg-type]  # None was handled before


@given(st.binary(max_size=3000), nodes(), st.integers(0, 3000))
def test_any_bytes_are_a_node_or_damage(noise: bytes, node: Node, at: int) -> None:
    data = encode_node(node, _table())
    for candidate in (noise, data[:at] + noise + data[at + len(noise) :]):
        with contextlib.suppress(CorruptObject):
            decode_node("node", candidate, PackTable())


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_pack_comes_back(contents: list[bytes]) -> None:
    builder = PackBuilder(bytes(16), Content.BLOCKS)
    for each in contents:
        builder.add(Frame(Kind.BLOCK, Codec.RAW, each, len(each), blake3(each).digest()))
    data = b"".join(builder.finish())
    trailer = decode_trailer("pack", data[-TRAILER_SIZE:])
    start, size = trailer.footer_offset, trailer.footer_size
    footer = decode_footer("pack", trailer, data[start : start + size])
    frames = [
        data[offset : offset + length]
        for offset, length in zip(footer.offsets, footer.sizes, strict=True)
    ]

    assert frames == contents
    assert [footer.digest(i) for i in range(len(contents))] == [
        blake3(each).digest() for each in contents
    ]


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 70000))
def test_any_bytes_are_a_frame_or_damage(data: bytes, codec: int, plain_size: int) -> None:
    for stored in (data, b"\x28\xb5\x2f\xfd" + data):
        with contextlib.suppress(CorruptObject):
            assert len(decode_frame("frame", codec, stored, plain_size)) == plain_size

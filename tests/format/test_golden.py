"""Every kind of object, byte for byte, and what its decoder makes of damaged bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from csbs.repository import text_object
from csbs.repository.damage import decode_damage
from csbs.repository.errors import CorruptObject
from csbs.repository.identity import decode_config
from csbs.repository.key_ring import decode_ring, opened_by_recovery, opened_by_region
from csbs.repository.key_text import KeyKind, keys_of_text
from csbs.repository.manifest import decode_manifest
from csbs.repository.node import Node, decode_node, encode_node
from csbs.repository.pack import TRAILER_SIZE, Footer, decode_footer, decode_trailer
from csbs.repository.wrapping import RecoveryUnwrap, RegionWrap
from tests.format import samples, sealed_samples

GOLDEN = {name: (samples.GOLDEN / f"{name}.bin").read_bytes() for name in samples.samples()}


def _decoded_node(data: bytes) -> bytes:
    packs = samples.table()
    return encode_node(decode_node("node", data, packs), packs)


def _text(magic: bytes) -> Callable[[bytes], object]:
    return lambda data: text_object.decode("object", magic, data)


def _footer(data: bytes) -> Footer:
    trailer = decode_trailer("pack", data[-TRAILER_SIZE:])
    start, size = trailer.footer_offset, trailer.footer_size
    return decode_footer("pack", trailer, data[start : start + size])


DECODERS: dict[str, Callable[[bytes], object]] = {
    "config": lambda data: decode_config("repository", data),
    "owner": _text(text_object.OWNER_MAGIC),
    "manifest": lambda data: decode_manifest(samples.MANIFEST.key, data, samples.KEYS),
    "void": _text(text_object.VOID_MAGIC),
    "tombstone": _text(text_object.TOMBSTONE_MAGIC),
    "tombstone-end": _text(text_object.TOMBSTONE_END_MAGIC),
    "damage": lambda data: decode_damage("damage", data),
    "pack": _footer,
    "leaf": _decoded_node,
    "inner-node": _decoded_node,
    "encrypted-config": lambda data: decode_config("repository", data),
    "key-ring": lambda data: decode_ring("keys", data),
    "encrypted-manifest": lambda data: decode_manifest(
        samples.MANIFEST.key, data, sealed_samples.manifest_keys()
    ),
    "encrypted-pack": _footer,
}
PACKS = ("pack", "encrypted-pack")
#: Their bytes carry their own check.  Nodes do not: the pack's footer has their digest.
CHECKED = [name for name in DECODERS if name not in {*PACKS, "leaf", "inner-node"}]


@pytest.mark.parametrize("name", samples.samples())
def test_golden_bytes_are_what_is_written(name: str) -> None:
    assert samples.samples()[name] == GOLDEN[name]


def test_there_is_no_golden_file_too_many() -> None:
    assert {path.stem for path in samples.GOLDEN.iterdir()} == set(GOLDEN)


def test_golden_bytes_are_read() -> None:
    assert decode_config("repository", GOLDEN["config"]) == samples.CONFIG
    assert DECODERS["manifest"](GOLDEN["manifest"]) == samples.MANIFEST
    assert DECODERS["damage"](GOLDEN["damage"]) == samples.DAMAGE
    assert _decoded_node(GOLDEN["leaf"]) == GOLDEN["leaf"]
    assert _decoded_node(GOLDEN["inner-node"]) == GOLDEN["inner-node"]
    end = text_object.decode("end", text_object.TOMBSTONE_END_MAGIC, GOLDEN["tombstone-end"])
    assert end == {"end": "purged"}


def test_a_golden_pack_is_read() -> None:
    data = GOLDEN["pack"]
    trailer = decode_trailer("pack", data[-TRAILER_SIZE:])
    start, size = trailer.footer_offset, trailer.footer_size
    footer = decode_footer("pack", trailer, data[start : start + size])
    frames = [
        data[offset : offset + length]
        for offset, length in zip(footer.offsets, footer.sizes, strict=True)
    ]

    assert (trailer.pack_id, trailer.slot_count) == (samples.PACK_ID, 3)
    assert frames == [frame.data for frame in samples.FRAMES]
    assert [footer.digest(i) for i in range(3)] == [frame.digest for frame in samples.FRAMES]
    assert footer.plain_sizes.tolist() == [10, 20, 0]
    assert [footer.position(slot) for slot in (0, 2, 3)] == [0, 2, None]


@pytest.mark.parametrize("name", CHECKED)
def test_any_flipped_byte_is_damage(name: str) -> None:
    data = GOLDEN[name]
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]
        with pytest.raises(CorruptObject):
            DECODERS[name](changed)


@pytest.mark.parametrize("name", [*CHECKED, *PACKS])
def test_any_cut_is_damage(name: str) -> None:
    for size in range(len(GOLDEN[name])):
        with pytest.raises(CorruptObject):
            DECODERS[name](GOLDEN[name][:size])


@pytest.mark.parametrize("name", ["leaf", "inner-node"])
def test_a_cut_or_longer_node_is_damage(name: str) -> None:
    data = GOLDEN[name]
    for size in range(len(data)):
        with pytest.raises(CorruptObject):
            DECODERS[name](data[:size])
    with pytest.raises(CorruptObject):
        DECODERS[name](data + b"x")


@pytest.mark.parametrize("name", ["leaf", "inner-node"])
def test_a_flipped_byte_of_a_node_is_damage_or_another_node(name: str) -> None:
    """Its digest tells; the decoder must only never raise a foreign error."""
    data = GOLDEN[name]
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 0x81]) + data[at + 1 :]
        try:
            node = decode_node("node", changed, samples.table())
        except CorruptObject:
            continue
        assert isinstance(node, Node)


@pytest.mark.parametrize("name", PACKS)
def test_a_flipped_byte_of_a_footer_or_trailer_is_damage(name: str) -> None:
    data = GOLDEN[name]
    trailer = decode_trailer("pack", data[-TRAILER_SIZE:])
    unread = range(len(data) - 32, len(data))  # the pack's check is the whole pack's affair
    pack_id = range(len(data) - TRAILER_SIZE + 8, len(data) - TRAILER_SIZE + 28)  # and generation
    for at in range(trailer.footer_offset, len(data)):
        if at in unread or at in pack_id:
            continue
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(CorruptObject):
            _footer(changed)


def test_a_manifest_needs_the_repositorys_key() -> None:
    other = type(samples.KEYS)(samples.KEYS.repository_id, bytes(32))

    with pytest.raises(CorruptObject):
        decode_manifest(samples.MANIFEST.key, GOLDEN["manifest"], other)


def test_a_manifest_of_another_repository_is_refused() -> None:
    other = type(samples.KEYS)("another", samples.KEYS.mac_key)

    with pytest.raises(CorruptObject, match="another"):
        decode_manifest(samples.MANIFEST.key, GOLDEN["manifest"], other)


def test_a_golden_encrypted_pack_is_read() -> None:
    data = GOLDEN["encrypted-pack"]
    footer = _footer(data)
    assert footer.seal is not None
    keys = sealed_samples.data_keys()
    cipher = keys.cipher("pack", samples.PACK_ID, footer.seal)
    frames = [
        cipher.open_frame("pack", slot, kind, plain_size, data[offset : offset + size])
        for slot, kind, plain_size, offset, size in zip(
            footer.slots.tolist(),
            footer.kinds.tolist(),
            footer.plain_sizes.tolist(),
            footer.offsets.tolist(),
            footer.sizes.tolist(),
            strict=True,
        )
    ]

    assert footer.seal.data_key_id == keys.current_id
    assert frames == [frame.data for frame in samples.FRAMES]
    assert [footer.digest(i) for i in range(3)] == [frame.digest for frame in samples.FRAMES]


def test_a_golden_key_ring_is_opened_by_either_key() -> None:
    ring = decode_ring("keys", GOLDEN["key-ring"])
    (region_key,) = keys_of_text(KeyKind.REGION, GOLDEN["region-key"].decode())
    (recovery_key,) = keys_of_text(KeyKind.RECOVERY, GOLDEN["recovery-key"].decode())
    wrap = RegionWrap(region_key, bytes.fromhex(ring.repository_id.replace("-", "")))

    assert opened_by_region("keys", ring, wrap) == sealed_samples.open_ring()
    opened = opened_by_recovery("keys", ring, RecoveryUnwrap(recovery_key))
    assert opened == sealed_samples.open_ring()


def test_a_golden_encrypted_manifest_is_read_and_tells_nothing_without_its_key() -> None:
    assert DECODERS["encrypted-manifest"](GOLDEN["encrypted-manifest"]) == samples.MANIFEST
    assert "web-整机".encode() in GOLDEN["manifest"]
    assert "web-整机".encode() not in GOLDEN["encrypted-manifest"]


def test_golden_keys_are_read_as_a_person_types_them() -> None:
    text = GOLDEN["region-key"].decode()
    typed = text.lower().replace("-key-1 ", "-key-1   ")
    grouped = "csbs-region-key-1 " + " ".join(typed.split()[1].split("-"))

    assert keys_of_text(KeyKind.REGION, text) == [sealed_samples.REGION_KEY]
    assert keys_of_text(KeyKind.REGION, typed) == [sealed_samples.REGION_KEY]
    assert keys_of_text(KeyKind.REGION, f"# a\n\n{grouped}") == [sealed_samples.REGION_KEY]

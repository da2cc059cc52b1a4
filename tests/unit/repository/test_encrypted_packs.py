"""Encrypted packs: a frame opens at its address only, and nothing plain lies in the store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository.errors import CorruptObject
from csbs.repository.frame_cipher import SEAL_SIZE, DataKeys
from csbs.repository.node import Address
from csbs.repository.objectstore import MemoryStore
from csbs.repository.pack import Codec, Content, Frame, Kind, PackBuilder, pack_key
from csbs.repository.pack_reader import PackReader
from csbs.testing.repositories import Lab, noise

KEY = bytes(range(32))
KEYS = {bytes([1]) * 16: bytes([1]) * 32, bytes([2]) * 16: bytes([2]) * 32}
PACK_ID, OTHER_ID = bytes([7]) * 16, bytes([8]) * 16
PLAIN = [b"first" * 10, b"second" * 10, b"third!" * 10]

Change = Callable[[PackBuilder], None]


def data_keys(current: int = 1) -> DataKeys:
    def counted(size: int) -> bytes:
        numbers.append(len(numbers))
        return bytes([len(numbers)]) * size

    numbers: list[int] = []
    return DataKeys(KEYS, bytes([current]) * 16, counted)


def built(
    pack_id: bytes, keys: DataKeys, plain: list[bytes], kind: Kind = Kind.BLOCK
) -> PackBuilder:
    builder = PackBuilder(pack_id, Content.BLOCKS, keys.new_cipher(pack_id))
    for each in plain:
        builder.add(Frame(kind, Codec.RAW, each, len(each), blake3(each, key=KEY).digest()))
    return builder


def stored_frames(builder: PackBuilder) -> list[bytes]:
    data, at, frames = b"".join(builder.finish()), 80, []
    for size in builder._sizes:
        frames.append(data[at : at + size])
        at += size
    return frames


def rebuilt(builder: PackBuilder, frames: list[bytes]) -> PackBuilder:
    """The pack with other frames, and all that says so with right checks: a clever enemy's."""
    header = bytes(builder._chunks[0][:80])
    builder._chunks = [bytearray(header + b"".join(frames))]
    builder._sizes = [len(frame) for frame in frames]
    builder.size_bytes = sum(builder._sizes)
    return builder


def read(builder: PackBuilder, keys: DataKeys, kind: Kind = Kind.BLOCK) -> list[bytes]:
    """All frames, by a reader that has `keys`."""
    store = MemoryStore()
    store.put(pack_key(PACK_ID), builder.finish())
    packs = PackReader(store, KEY, data_keys=keys)
    return [packs.frame(Address(PACK_ID, slot), kind) for slot in range(len(PLAIN))]


def frames_replaced(change: Callable[[list[bytes]], list[bytes]]) -> Change:
    return lambda builder: void(rebuilt(builder, change(stored_frames(builder))))


def void(_: object) -> None:
    """Nothing."""


def flipped(frame: bytes, at: int) -> bytes:
    at %= len(frame)
    return frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]


def _other(current: int, plain: list[bytes], pack_id: bytes = PACK_ID) -> list[bytes]:
    return stored_frames(built(pack_id, data_keys(current), plain))


def _kind_changed(builder: PackBuilder) -> None:
    builder._kinds[1] = Kind.NODE


def _plain_size_changed(builder: PackBuilder) -> None:
    builder._plain_sizes[1] -= 1


def _salt_changed(builder: PackBuilder) -> None:
    builder._cipher = data_keys(2).new_cipher(PACK_ID)


TAMPERED: dict[str, Change] = {
    "two frames swapped": frames_replaced(lambda old: [old[1], old[0], old[2]]),
    "a frame repeated in another slot": frames_replaced(lambda old: [old[0], old[0], old[2]]),
    "a frame of another pack, same slot": frames_replaced(
        lambda old: [old[0], _other(1, PLAIN, OTHER_ID)[1], old[2]]
    ),
    "a frame of the same pack id under another data key": frames_replaced(
        lambda old: [old[0], _other(2, PLAIN)[1], old[2]]
    ),
    "the nonce flipped": frames_replaced(lambda old: [old[0], flipped(old[1], 3), old[2]]),
    "the data flipped": frames_replaced(lambda old: [old[0], flipped(old[1], 20), old[2]]),
    "the tag flipped": frames_replaced(lambda old: [old[0], flipped(old[1], -1), old[2]]),
    "a frame cut": frames_replaced(lambda old: [old[0], old[1][:-1], old[2]]),
    "a frame shorter than a tag": frames_replaced(lambda old: [old[0], old[1][:20], old[2]]),
    "the nonce of another frame": frames_replaced(
        lambda old: [old[0], old[0][:12] + old[1][12:], old[2]]
    ),
    "the plain size changed": _plain_size_changed,
    "another seal": _salt_changed,
}


def test_what_was_sealed_is_read() -> None:
    assert read(built(PACK_ID, data_keys(), PLAIN), data_keys()) == PLAIN


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_a_frame_opens_at_its_address_only(change: Change) -> None:
    builder = built(PACK_ID, data_keys(), PLAIN)
    change(builder)

    with pytest.raises(CorruptObject, match="the frame that was encrypted there"):
        read(builder, data_keys())


def test_a_block_is_no_node() -> None:
    builder = built(PACK_ID, data_keys(), PLAIN)
    for slot in range(len(PLAIN)):
        builder._kinds[slot] = Kind.NODE

    with pytest.raises(CorruptObject, match="the frame that was encrypted there"):
        read(builder, data_keys(), Kind.NODE)


def test_a_whole_pack_of_another_id_is_refused_where_its_id_was_forged() -> None:
    """As from another repository that was made with the same keys."""
    builder = built(OTHER_ID, data_keys(), PLAIN)
    builder.pack_id = PACK_ID
    builder._chunks[0][8:24] = PACK_ID

    with pytest.raises(CorruptObject, match="the frame that was encrypted there"):
        read(builder, data_keys())


def test_a_pack_under_a_key_that_the_ring_lacks_names_the_key() -> None:
    known = {bytes([1]) * 16: bytes([1]) * 32}

    with pytest.raises(CorruptObject, match="02020202-0202-0202-0202-020202020202"):
        read(built(PACK_ID, data_keys(2), PLAIN), DataKeys(known, bytes([1]) * 16, bytes))


def test_a_plain_pack_is_refused_in_an_encrypted_repository() -> None:
    builder = PackBuilder(PACK_ID, Content.BLOCKS)
    for each in PLAIN:
        builder.add(Frame(Kind.BLOCK, Codec.RAW, each, len(each), blake3(each, key=KEY).digest()))

    with pytest.raises(CorruptObject, match="expected an encrypted pack, found a plain one"):
        read(builder, data_keys())


def test_an_encrypted_pack_is_refused_in_a_plain_repository() -> None:
    store = MemoryStore()
    store.put(pack_key(PACK_ID), built(PACK_ID, data_keys(), PLAIN).finish())

    with pytest.raises(CorruptObject, match="expected a plain pack, found an encrypted one"):
        PackReader(store, KEY).frame(Address(PACK_ID, 0), Kind.BLOCK)


def test_no_two_packs_have_a_salt_and_no_two_frames_a_nonce_in_common() -> None:
    keys = data_keys()
    one, other = keys.new_cipher(PACK_ID), keys.new_cipher(PACK_ID)
    nonces = {one.seal_frame(0, 1, 4, b"data")[:12] for _ in range(5)}

    assert one.seal.salt != other.seal.salt
    assert len(nonces) == 5


def test_a_frame_that_was_copied_opens_with_its_nonce() -> None:
    """As compaction and mirrors copy: the same address, the next generation."""
    builder = built(PACK_ID, data_keys(), PLAIN)
    frames = stored_frames(builder)
    builder._chunks[0][24:28] = b"\1\0\0\0"

    assert read(rebuilt(builder, frames), data_keys()) == PLAIN


def test_ciphers_of_packs_are_kept_within_a_bound() -> None:
    keys = DataKeys(KEYS, bytes([1]) * 16, bytes, ciphers_max=2)
    seals = [keys.new_cipher(bytes([n]) * 16).seal for n in range(3)]
    for n, seal in enumerate(seals):
        keys.cipher("pack", bytes([n]) * 16, seal)
    last = keys.cipher("pack", bytes([2]) * 16, seals[2])

    assert len(keys._ciphers) == 2
    assert keys.cipher("pack", bytes([2]) * 16, seals[2]) is last


@given(
    place=st.tuples(st.integers(0, 8191), st.sampled_from(Kind), st.integers(0, 65536)),
    other=st.tuples(st.integers(0, 8191), st.sampled_from(Kind), st.integers(0, 65536)),
    data=st.binary(max_size=100),
)
def test_bytes_come_back_at_their_place_and_at_no_other(
    place: tuple[int, Kind, int], other: tuple[int, Kind, int], data: bytes
) -> None:
    cipher = data_keys().new_cipher(PACK_ID)
    stored = cipher.seal_frame(*place, data)

    assert len(stored) == len(data) + SEAL_SIZE
    assert cipher.open_frame("pack", *place, stored) == data
    if other != place:
        with pytest.raises(CorruptObject):
            cipher.open_frame("pack", *other, stored)


def test_a_plain_repository_does_without_cryptography() -> None:
    program = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
import csbs.app
from csbs.repository.objectstore import MemoryStore
from csbs.testing.repositories import Lab, noise
with TemporaryDirectory() as folder:
    lab = Lab(MemoryStore(), Path(folder))
    assert lab.restored(lab.back_up(noise(1))) == noise(1)
    lab.close()
    assert "cryptography" not in sys.modules
    Lab(MemoryStore(), Path(folder), encrypted=True).close()
    assert "cryptography" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# --- the whole store ------------------------------------------------------------------------------

MARK = b"MARKED-BYTES-OF-THE-GUEST"
SERVER = "web-server-of-the-bank-整机"


def _stored(store: MemoryStore) -> bytes:
    return b"\n".join(each.key.encode() + store.get(each.key) for each in store.list(""))


def _marked(lab: Lab) -> None:
    """Backups of disks that compress, that do not, and that are mixed, with a telling name."""
    data = MARK * 3000 + noise(1).replace(noise(1)[:400], MARK * 16) + bytes(BLOCK_SIZE)
    first = lab.back_up(data)
    writer = lab.begin()
    image = writer.image("disk", len(data), parent=first.images[0])
    image.write(1, image.encoder().encode(1, MARK[:5] + noise(3)[5:]))
    image.finish()
    writer.commit(
        created_at=first.created_at,
        facts={"server": {"name": SERVER, "xml": f"<name>{SERVER}</name>"}},
    )


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_no_plain_byte_is_found_anywhere_in_an_encrypted_store(
    store: MemoryStore, tmp_path: Path, *, encrypted: bool
) -> None:
    lab = Lab(store, tmp_path, encrypted=encrypted)
    _marked(lab)
    stored, pieces = _stored(store), [MARK, SERVER.encode(), noise(3)[1000:1016]]
    keys = lab.repository._opened.keys
    secrets = [keys.digest_key, keys.manifests.mac_key, keys.digest_key.hex().encode()]
    lab.close()

    found = [piece in stored for piece in pieces]
    assert found == [not encrypted] * 3  # in a plain store they are: the search can find them
    assert [secret in stored for secret in secrets] == [False, False, not encrypted]


def test_an_encrypted_repository_stores_a_block_once(store: MemoryStore, tmp_path: Path) -> None:
    lab = Lab(store, tmp_path, encrypted=True)
    first = lab.back_up(noise(1, 4 * BLOCK_SIZE))
    lab.repository = lab.opened()
    second = lab.back_up(noise(1, 4 * BLOCK_SIZE), image_id="copy")
    lab.close()

    assert first.stored_bytes > 4 * BLOCK_SIZE
    assert second.stored_bytes < BLOCK_SIZE
    assert lab.restored(second, "copy") == noise(1, 4 * BLOCK_SIZE)

"""What encoding makes of bytes."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from csbs.domain.extents import BLOCK_SIZE
from csbs.repository.encoder import BlockEncoder, Outcome
from csbs.repository.objectstore import Bytes, MemoryStore
from csbs.repository.pack import Codec
from csbs.testing.repositories import Lab, noise

ZERO, SAME, KNOWN, NEW = Outcome.ZERO, Outcome.SAME, Outcome.KNOWN, Outcome.NEW


def encoder(lab: Lab, parent: bytes = b"") -> BlockEncoder:
    image = lab.back_up(parent).images[0] if parent else None
    return lab.begin().image("disk", 512 * 600 * BLOCK_SIZE, parent=image).encoder()


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, memoryview, lambda data: memoryview(b"x" + data)[1:]]
)
def test_any_buffer_is_taken(lab: Lab, kind: Callable[[bytes], Bytes]) -> None:
    data = noise(1) + bytes(BLOCK_SIZE) + b"t" * BLOCK_SIZE + b"end"
    blocks = encoder(lab).encode(0, kind(data))

    assert [block.outcome for block in blocks] == [NEW, ZERO, NEW, NEW]
    frames = [block.frame for block in blocks if block.frame is not None]
    assert [frame.codec for frame in frames] == [Codec.RAW, Codec.ZSTD, Codec.ZSTD]
    assert frames[0].data == noise(1)
    assert {frame.plain_size for frame in frames} == {BLOCK_SIZE}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"x", [NEW]),
        (b"\0", [ZERO]),
        (bytes(BLOCK_SIZE - 1) + b"x", [NEW]),
        (b"x" + bytes(BLOCK_SIZE), [NEW, ZERO]),
        (bytes(2 * BLOCK_SIZE - 1) + b"x", [ZERO, NEW]),
    ],
    ids=["nothing", "a byte", "a zero", "last byte", "first byte", "second block"],
)
def test_a_block_is_zero_only_if_every_byte_is(
    lab: Lab, data: bytes, expected: list[Outcome]
) -> None:
    assert [block.outcome for block in encoder(lab).encode(0, data)] == expected


def test_the_parents_blocks_are_the_same_and_those_of_other_places_known(lab: Lab) -> None:
    one = encoder(lab, noise(1) + noise(2) + bytes(BLOCK_SIZE))
    data = noise(1) + noise(1) + noise(2) + bytes(BLOCK_SIZE) + noise(3)

    assert [block.outcome for block in one.encode(0, data)] == [SAME, KNOWN, KNOWN, ZERO, NEW]


def test_behind_the_end_of_the_parent_nothing_is_the_same(lab: Lab) -> None:
    one = encoder(lab, noise(1))

    for first in (1, 511, 512, 512 * 512, 512 * 599):
        assert [block.outcome for block in one.encode(first, noise(1))] == [KNOWN]


def test_a_damaged_map_of_the_parent_means_that_all_is_stored_or_known(
    lab: Lab, store: MemoryStore
) -> None:
    size_bytes = 600 * BLOCK_SIZE
    parent = lab.back_up_blocks(size_bytes, {0: noise(1), 550: noise(2)}).images[0]
    one = lab.begin(lab.opened()).image("disk", size_bytes, parent=None).encoder()
    again = lab.opened()
    image = lab.begin(again).image("disk", size_bytes, parent=parent)
    assert parent.root is not None
    name = parent.root.pack_id.hex()
    store.delete(f"packs/{name[:2]}/{name}")
    again._packs.forget([parent.root.pack_id])

    assert [block.outcome for block in image.encoder().encode(0, noise(1))] == [KNOWN]
    assert [block.outcome for block in one.encode(0, noise(1))] == [KNOWN]


def codecs(lab: Lab, data: bytes) -> list[Codec]:
    frames = [block.frame for block in encoder(lab).encode(0, data)]
    assert [frame.plain_size for frame in frames if frame] == [BLOCK_SIZE] * len(frames)
    return [frame.codec for frame in frames if frame]


def text(seed: int) -> bytes:
    chance = random.Random(seed)
    return b" ".join(b"%d" % chance.randrange(10**6) for _ in range(12_000))[:BLOCK_SIZE]


@pytest.mark.parametrize("kind", ["rt", "tr", "rrrt", "rrrtt", "rrrrtrrrt", "trrtrrt"])
def test_what_compresses_is_found_at_once_among_what_does_not(lab: Lab, kind: str) -> None:
    data = b"".join(noise(i) if each == "r" else text(i) for i, each in enumerate(kind))

    assert codecs(lab, data) == [Codec.RAW if each == "r" else Codec.ZSTD for each in kind]


def test_after_two_blocks_that_do_not_compress_a_sample_decides(lab: Lab) -> None:
    """The third is text but where the sample looks: it costs space, and no byte is lost."""
    odd = bytearray(text(1))
    for start in range(0, BLOCK_SIZE, 4096):
        odd[start : start + 256] = noise(start, 256)
    after_one = encoder(lab).encode(0, noise(1) + bytes(odd))
    after_two = encoder(lab).encode(0, noise(1) + noise(2) + bytes(odd))

    assert [block.frame.codec for block in after_one if block.frame] == [Codec.RAW, Codec.ZSTD]
    assert [block.frame.codec for block in after_two if block.frame] == [Codec.RAW] * 3
    assert lab.restored(lab.back_up(noise(1) + noise(2) + bytes(odd)))[-BLOCK_SIZE:] == bytes(odd)

"""Every pack belongs to exactly one of t shares."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbs.repository.share import SHARES_MAX, InvalidShare, Share, parse_share


@given(st.binary(min_size=16, max_size=16), st.integers(1, SHARES_MAX))
def test_a_pack_is_in_exactly_one_share(pack_id: bytes, total: int) -> None:
    having = [number for number in range(1, total + 1) if Share(number, total).has(pack_id)]

    assert len(having) == 1


@given(st.binary(min_size=16, max_size=16), st.integers(1, SHARES_MAX))
def test_a_pack_stays_in_its_share(pack_id: bytes, total: int) -> None:
    for number in (1, total):
        assert Share(number, total).has(pack_id) == Share(number, total).has(bytes(pack_id))


@pytest.mark.parametrize("total", [2, 7, 16, 30, 100])
def test_shares_of_random_ids_are_about_equal(total: int) -> None:
    """Ids are UUIDs of version 4: six of their bits are fixed."""
    source = random.Random(total)
    ids = []
    for _ in range(200 * total):
        raw = bytearray(source.randbytes(16))
        raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
        ids.append(bytes(raw))
    sizes = [sum(Share(n, total).has(each) for each in ids) for n in range(1, total + 1)]

    assert sum(sizes) == len(ids)
    assert all(130 < each < 280 for each in sizes)


@pytest.mark.parametrize(
    ("text", "share"),
    [("1/1", Share(1, 1)), ("3/7", Share(3, 7)), ("1000/1000", Share(1000, 1000))],
)
def test_a_share_is_written_as_a_fraction(text: str, share: Share) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    "text", ["", "3", "0/7", "8/7", "-1/7", "3/0", "1/1001", "3/7/1", "a/b", "1.5/7", " 3/7"]
)
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(InvalidShare, match="is no share"):
        parse_share(text)

"""Settings of `make bench`."""

from __future__ import annotations

import pytest

from benchmarks.settings import Settings, settings_of


def test_what_is_not_set_or_empty_has_its_default() -> None:
    assert settings_of({"BENCH_ROUNDS": ""}) == Settings()


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("300M", 300_000_000), ("2G", 2 * 10**9), ("77", 77)]
)
def test_sizes_may_have_a_unit(text: str, size_bytes: int) -> None:
    assert settings_of({"BENCH_SIZE": text}).size_bytes == size_bytes


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="a lot"):
        settings_of({"BENCH_SIZE": "a lot"})

"""What every object store keeps, run on each adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from csbs.repository.errors import InvalidKey, ObjectExists, ObjectNotFound, StoreFull
from csbs.repository.objectstore import FolderStore, MemoryStore, ObjectStore


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    folder = FolderStore(tmp_path / "store", min_free=lambda _: 0)
    folder.make()
    yield folder


def test_an_object_comes_back(store: ObjectStore) -> None:
    store.put("packs/ab/1", [b"0123", bytearray(b"456"), memoryview(b"789")])

    assert store.get("packs/ab/1") == b"0123456789"
    assert store.size("packs/ab/1") == 10


@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [(3, 4, b"3456"), (8, 10, b"89"), (20, 5, b""), (4, None, b"456789"), (0, 0, b"")],
)
def test_a_range_is_exactly_the_range(
    store: ObjectStore, offset: int, size: int | None, expected: bytes
) -> None:
    store.put("packs/ab", [b"0123456789"])

    assert store.get("packs/ab", offset=offset, size=size) == expected


@pytest.mark.parametrize("size_bytes", [10, 3 * 1024 * 1024], ids=["small", "large"])
def test_a_repeated_put_of_the_same_bytes_is_success(store: ObjectStore, size_bytes: int) -> None:
    data = b"x" * size_bytes

    store.put("a/b", [data])
    store.put("a/b", [data[:5], data[5:]])

    assert store.get("a/b") == data


@pytest.mark.parametrize(
    "other", [b"0123456780", b"012345678", b"01234567890"], ids=["changed", "shorter", "longer"]
)
def test_a_put_of_other_bytes_fails_and_changes_nothing(store: ObjectStore, other: bytes) -> None:
    store.put("a/b", [b"0123456789"])

    with pytest.raises(ObjectExists):
        store.put("a/b", [other])

    assert store.get("a/b") == b"0123456789"


def test_what_is_not_there_is_not_found(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFound):
        store.get("a/b")
    with pytest.raises(ObjectNotFound):
        store.size("a/b")


def test_a_listing_has_all_below_the_prefix_and_nothing_else(store: ObjectStore) -> None:
    for key in ("a/b", "a/bc/d", "a/x", "ab", "b/a"):
        store.put(key, [key.encode()])

    assert {info.key: info.size_bytes for info in store.list("a/b")} == {"a/b": 3, "a/bc/d": 6}
    assert {info.key for info in store.list("")} == {"a/b", "a/bc/d", "a/x", "ab", "b/a"}
    assert list(store.list("zzz")) == []


def test_replace_overwrites(store: ObjectStore) -> None:
    store.put("a/b", [b"old"])
    store.replace("a/b", b"newer")

    assert store.get("a/b") == b"newer"


def test_a_deletion_may_be_repeated(store: ObjectStore) -> None:
    store.put("a/b", [b"x"])
    store.delete("a/b")
    store.delete("a/b")

    assert list(store.list("")) == []


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/..", "A", "a b", "a/", "_tmp/x"])
def test_what_is_no_key_is_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(InvalidKey):
        store.put(key, [b"x"])
    with pytest.raises(InvalidKey):
        store.get(key)


def test_a_folder_keeps_its_free_space_for_deletion(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store", min_free=lambda total_bytes: total_bytes)
    store.make()

    with pytest.raises(StoreFull, match="csbs repository collect"):
        store.put("a/b", [b"x"])
    store.put("a/b", [b"x"], use_reserve=True)

    assert store.get("a/b") == b"x"


def test_what_killed_writers_left_is_cleared(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store", min_free=lambda _: 0)
    store.make()
    left = tmp_path / "store" / "_tmp" / "left"
    left.write_bytes(b"x")

    store.clear_leftovers()

    assert not left.exists()

"""What every object store keeps."""

from __future__ import annotations

import threading

import pytest

from csbs.domain.errors import CsbsError
from csbs.repository.errors import InvalidKey, ObjectExists, ObjectNotFound
from csbs.repository.objectstore import Bytes, ObjectStore, tail_of
from csbs.repository.objectstore.base import COMPARE_WHOLE_MAX

_WRITERS = 8


class ObjectStoreContract:
    """Subclass it once for each adapter, with a fixture `store`: an empty store."""

    def test_an_object_comes_back_from_its_parts(self, store: ObjectStore) -> None:
        store.put("packs/ab/1", [b"0123", bytearray(b"456"), memoryview(b"789")])

        assert store.get("packs/ab/1") == b"0123456789"
        assert store.size("packs/ab/1") == 10

    def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        store.put("a/b", [])

        assert store.get("a/b") == b""
        assert [info.key for info in store.list("a/")] == ["a/b"]

    @pytest.mark.parametrize(
        ("offset", "size", "expected"),
        [(3, 4, b"3456"), (8, 10, b"89"), (20, 5, b""), (4, None, b"456789"), (0, 0, b"")],
        ids=["inside", "over the end", "behind the end", "to the end", "nothing"],
    )
    def test_a_range_is_exactly_the_range(
        self, store: ObjectStore, offset: int, size: int | None, expected: bytes
    ) -> None:
        store.put("packs/ab", [b"0123456789"])

        assert store.get("packs/ab", offset=offset, size=size) == expected

    @pytest.mark.parametrize(
        ("size", "expected"), [(4, b"6789"), (10, b"0123456789"), (99, b"0123456789")]
    )
    def test_the_end_comes_with_the_size_of_the_whole(
        self, store: ObjectStore, size: int, expected: bytes
    ) -> None:
        store.put("packs/ab", [b"0123456789"])
        store.put("packs/empty", [])

        assert tail_of(store, "packs/ab", size) == (expected, 10)
        assert tail_of(store, "packs/empty", size) == (b"", 0)
        with pytest.raises(ObjectNotFound):
            tail_of(store, "packs/cd", size)

    @pytest.mark.parametrize("size_bytes", [10, 3 * COMPARE_WHOLE_MAX], ids=["small", "large"])
    def test_a_repeated_put_of_the_same_bytes_is_success(
        self, store: ObjectStore, size_bytes: int
    ) -> None:
        data = b"x" * size_bytes

        store.put("a/b", [data])
        store.put("a/b", [data[:5], data[5:]])

        assert store.get("a/b") == data

    @pytest.mark.parametrize(
        "other", [b"0123456780", b"012345678", b"01234567890"], ids=["other", "shorter", "longer"]
    )
    def test_a_put_of_other_bytes_fails_and_changes_nothing(
        self, store: ObjectStore, other: bytes
    ) -> None:
        store.put("a/b", [b"0123456789"])

        with pytest.raises(ObjectExists):
            store.put("a/b", [other])
        assert store.get("a/b") == b"0123456789"

    def test_a_large_object_with_another_end_is_another(self, store: ObjectStore) -> None:
        body = b"x" * (2 * COMPARE_WHOLE_MAX)
        store.put("a/b", [body, b"1"])

        with pytest.raises(ObjectExists):
            store.put("a/b", [body, b"2"])

    def test_of_many_writers_of_one_key_exactly_one_wins(self, store: ObjectStore) -> None:
        begin = threading.Barrier(_WRITERS, timeout=30)
        results: list[bool] = []

        def write(data: Bytes) -> None:
            begin.wait()
            try:
                store.put("a/b", [data])
                results.append(True)
            except ObjectExists:
                results.append(False)

        threads = [threading.Thread(target=write, args=[b"%d" % n]) for n in range(_WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)

        assert sorted(results) == [False] * (_WRITERS - 1) + [True]

    def test_what_is_not_there_is_not_found(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectNotFound):
            store.get("a/b")
        with pytest.raises(ObjectNotFound):
            store.size("a/b")

    def test_a_listing_has_all_below_the_prefix_and_nothing_else(self, store: ObjectStore) -> None:
        for key in ("a/b", "a/bc/d", "a/x", "ab", "b/a"):
            store.put(key, [key.encode()])

        assert {each.key: each.size_bytes for each in store.list("a/b")} == {"a/b": 3, "a/bc/d": 6}
        assert {each.key for each in store.list("")} == {"a/b", "a/bc/d", "a/x", "ab", "b/a"}
        assert list(store.list("zzz")) == []
        assert list(store.list("a/b/c")) == []

    def test_replace_overwrites(self, store: ObjectStore) -> None:
        store.put("a/b", [b"old"])
        store.replace("a/b", b"newer")

        assert store.get("a/b") == b"newer"

    def test_a_deletion_may_be_repeated(self, store: ObjectStore) -> None:
        store.put("a/b", [b"x"])
        store.delete("a/b")
        store.delete("a/b")

        assert list(store.list("")) == []

    @pytest.mark.parametrize(
        "key",
        ["", "/a", "a//b", "../a", "a/..", "A", "a b", "a/", "_tmp/x", "a\n", "a" * 513],
        ids=repr,
    )
    def test_what_is_no_key_is_refused_by_every_method(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(InvalidKey):
            store.put(key, [b"x"])
        with pytest.raises(InvalidKey):
            store.replace(key, b"x")
        with pytest.raises(InvalidKey):
            store.get(key)
        with pytest.raises(InvalidKey):
            store.size(key)
        with pytest.raises(InvalidKey):
            store.delete(key)

    def test_a_key_below_an_object_raises_an_error_of_ours(self, store: ObjectStore) -> None:
        store.put("a/b", [b"x"])

        try:
            store.put("a/b/c", [b"y"])
        except CsbsError:
            return  # a folder cannot have both
        assert store.get("a/b/c") == b"y"

    def test_clearing_leaves_all_objects(self, store: ObjectStore) -> None:
        store.put("a/b", [b"x"])
        store.clear_leftovers()

        assert store.get("a/b") == b"x"

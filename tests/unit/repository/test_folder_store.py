"""The folder store when the machine, the disk or the user fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from csbs.domain.errors import CsbsError
from csbs.repository.errors import (
    CorruptObject,
    ObjectExists,
    ObjectNotFound,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
)
from csbs.repository.objectstore import RESERVE_SIZE, FolderStore, default_min_free
from csbs.testing.faults import Crash

PARTS = [b"first ", b"second"]
WHOLE = b"first second"

#: What changes a file system; `close` is left out: a dead process closes its files too.
SYSTEM_CALLS = ("open", "write", "fsync", "link", "unlink", "mkdir", "replace")

#: More than one put makes.
CALLS_MAX = 60


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> FolderStore:
    return made(root)


def made(root: Path) -> FolderStore:
    store = FolderStore(root, min_free=lambda _: 0)
    store.make()
    return store


class DyingKernel:
    """Lets so many system calls happen; then the process is dead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, crash_at: int) -> None:
        self.calls: list[str] = []
        self._crash_at = crash_at
        for name in SYSTEM_CALLS:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))

    @property
    def crashed(self) -> bool:
        return len(self.calls) > self._crash_at

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if self.crashed:
                raise Crash
            return call(*args, **kwargs)

        return counted


def failing(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize("known_folder", [False, True])
def test_a_crash_at_any_system_call_leaves_the_object_whole_or_absent(
    tmp_path: Path, *, known_folder: bool
) -> None:
    for crash_at in range(CALLS_MAX):
        root = tmp_path / str(crash_at)
        store = made(root)
        if known_folder:
            store.put("packs/ab/other", [b"x"])
        with pytest.MonkeyPatch.context() as monkeypatch:
            kernel = DyingKernel(monkeypatch, crash_at)
            with suppress(Crash):
                store.put("packs/ab/cd", PARTS)
        again = FolderStore(root, min_free=lambda _: 0)
        listed = {each.key: each.size_bytes for each in again.list("packs/ab/c")}
        try:
            assert again.get("packs/ab/cd") == WHOLE
            assert listed == {"packs/ab/cd": len(WHOLE)}
        except ObjectNotFound:
            assert listed == {}
            assert kernel.crashed
        again.clear_leftovers()
        again.put("packs/ab/cd", PARTS)
        assert again.get("packs/ab/cd") == WHOLE
        assert list((root / "_tmp").iterdir()) == []
        if not kernel.crashed:
            return
    pytest.fail(f"more than {CALLS_MAX} calls")


def test_file_and_folders_are_synced_before_a_put_returns(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    link = os.link

    def watched_link(source: Path, target: Path) -> None:
        synced.append("link")
        link(source, target)

    monkeypatch.setattr(os, "link", watched_link)
    store.put("packs/ab/cd", PARTS)

    folders, (temporary, *rest) = synced[:2], synced[2:]
    assert folders == ["packs", "store"]
    assert len(temporary) == 32
    assert rest == ["link", "ab"]


def test_a_repeated_put_syncs_what_an_earlier_process_may_not_have(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("packs/ab/cd", PARTS)
    kernel = DyingKernel(monkeypatch, 1000)
    FolderStore(root, min_free=lambda _: 0).put("packs/ab/cd", PARTS)

    assert kernel.calls[-1] == "fsync"


def test_who_finds_other_bytes_has_synced_what_an_earlier_process_may_not_have(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the manifest that is found in the place of a void, a backup is told to be available."""
    store.put("manifests/ab/cd", PARTS)
    kernel = DyingKernel(monkeypatch, 1000)
    with pytest.raises(ObjectExists):
        FolderStore(root, min_free=lambda _: 0).put("manifests/ab/cd", [b"void"])

    assert kernel.calls[kernel.calls.index("link") :] == ["link", "open", "fsync", "unlink"]


def test_short_writes_are_completed(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, memoryview(data)[:3]))
    store.put("a/b", PARTS)

    assert store.get("a/b") == WHOLE


def test_short_reads_are_completed(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a/b", PARTS)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: pread(fd, min(size, 3), at))

    assert store.get("a/b") == WHOLE
    assert store.get("a/b", offset=2, size=5) == WHOLE[2:7]
    assert store.get("a/b", offset=2, size=500) == WHOLE[2:]


@pytest.mark.parametrize(
    ("call", "number", "error"),
    [
        ("write", errno.ENOSPC, StoreFull),
        ("fsync", errno.EDQUOT, StoreFull),
        ("write", errno.EIO, StoreUnavailable),
        ("fsync", errno.EIO, StoreUnavailable),
        ("link", errno.EIO, StoreUnavailable),
        ("open", errno.EACCES, StoreDenied),
        ("open", errno.EROFS, StoreDenied),
    ],
)
def test_a_failing_disk_becomes_an_error_of_ours_and_leaves_nothing(
    store: FolderStore, root: Path, call: str, number: int, error: type[CsbsError]
) -> None:
    store.put("a/other", [b"x"])
    with pytest.MonkeyPatch.context() as monkeypatch:
        failing(monkeypatch, call, number)
        with pytest.raises(error):
            store.put("a/b", PARTS)

    assert list((root / "_tmp").iterdir()) == []
    assert [each.key for each in store.list("a/")] == ["a/other"]


@pytest.mark.parametrize("mount_point_left", [False, True])
def test_a_store_that_is_not_mounted_is_neither_empty_nor_made_anew(
    store: FolderStore, root: Path, *, mount_point_left: bool
) -> None:
    store.put("a/b", PARTS)
    root.rename(root.with_name("elsewhere"))
    if mount_point_left:
        root.mkdir()
    calls: list[Callable[[], object]] = [
        lambda: store.put("a/c", PARTS),
        lambda: store.put("b/c", PARTS),
        lambda: store.put("b/c", PARTS, use_reserve=True),
        lambda: store.replace("a/b", b"x"),
        lambda: store.get("a/b"),
        lambda: store.size("a/b"),
        lambda: list(store.list("a/")),
        lambda: list(store.list("")),
        lambda: store.delete("a/b"),
        store.clear_leftovers,
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match="mounted"):
            call()

    assert not mount_point_left or list(root.iterdir()) == []


def test_writers_stop_while_there_is_still_space_for_deletion(root: Path) -> None:
    store = FolderStore(root, min_free=lambda total_bytes: total_bytes)
    store.make()

    with pytest.raises(StoreFull, match="csbs repository collect"):
        store.put("a/b", [b"x"])
    store.put("a/b", [b"x"], use_reserve=True)
    store.replace("a/b", b"y")
    assert store.get("a/b") == b"y"


def test_a_full_disk_gives_up_the_reserve_and_collection_takes_it_again(
    store: FolderStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = root / "_reserve"
    assert reserve.stat().st_size == RESERVE_SIZE
    full = os.statvfs_result((4096, 4096, 10**6, 0, 0, 0, 0, 0, 0, 255))
    with monkeypatch.context() as while_full:
        while_full.setattr(os, "statvfs", lambda _: full)
        store.put("a/tombstone", [b"x"], use_reserve=True)
        assert not reserve.exists()
        store.clear_leftovers()
        assert not reserve.exists()
    store.clear_leftovers()

    assert reserve.stat().st_size == RESERVE_SIZE


def test_the_reserve_and_temporary_files_are_never_listed(store: FolderStore) -> None:
    store.put("a/b", [b"x"])

    assert [each.key for each in store.list("")] == ["a/b"]


@pytest.mark.parametrize(
    ("total", "expected"), [(10**9, 1024**3), (100 * 1024**3, 5 * 1024**3)], ids=["small", "large"]
)
def test_five_percent_stay_free_but_at_least_one_gib(total: int, expected: int) -> None:
    assert default_min_free(total) == expected


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreUnavailable):
        FolderStore(tmp_path / "file" / "store").make()


def test_bytes_that_the_medium_has_lost_are_damage_not_an_outage(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("packs/ab/cd", PARTS)
    failing(monkeypatch, "pread", errno.EIO)

    with pytest.raises(CorruptObject, match="packs/ab/cd"):
        store.get("packs/ab/cd")


def test_a_store_of_which_nothing_can_be_read_is_not_damaged(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("packs/ab/cd", PARTS)
    failing(monkeypatch, "pread", errno.EIO)
    failing(monkeypatch, "scandir", errno.EIO)

    with pytest.raises(StoreUnavailable):
        store.get("packs/ab/cd")

"""A store in a folder whose process dies in the middle of a put.

crashing: CrashingStore
torn = TornFolder(FolderStore(path), Tear.HALF, is_dying=lambda: crashing.crashed)
crashing = CrashingStore(torn, crash_at=7, after_effect=True, writes_only=True)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeVar

from csbs.repository.objectstore import AroundStore, FolderStore
from csbs.testing.faults import WRITES, Crash

T = TypeVar("T")


class Tear(StrEnum):
    """Where in a put the process dies."""

    #: Half of the bytes are in a temporary file.
    HALF = "half written"
    #: All of them are there, and synced; the object is not.
    WRITTEN = "written"
    #: The object is there, and so is the temporary file; the folder is not synced.
    NAMED = "named"


class TornFolder(AroundStore):
    """Raises `Crash` in the middle of puts and replacements while `is_dying` says so."""

    def __init__(self, inner: FolderStore, tear: Tear, *, is_dying: Callable[[], bool]) -> None:
        super().__init__(inner)
        self._tear = tear
        self._is_dying = is_dying

    def _call(self, method: str, key: str, do: Callable[[], T]) -> T:
        del key
        if method not in WRITES or not self._is_dying():
            return do()
        with _dying_in(self._tear):
            return do()


@contextmanager
def _dying_in(tear: Tear) -> Iterator[None]:
    """System calls die where the tear says; those behind it are not made by a dead process."""
    write = os.write

    def write_half(descriptor: int, data: memoryview) -> int:
        write(descriptor, data[: len(data) // 2])
        raise Crash

    def dying(call: Callable[..., None], *, made: bool) -> Callable[..., None]:
        def die(*arguments: Any, **more: Any) -> None:
            if made:
                call(*arguments, **more)
            raise Crash

        return die

    named = tear is Tear.NAMED
    calls: dict[str, Callable[..., Any]] = {
        "write": write_half if tear is Tear.HALF else write,
        "link": dying(os.link, made=named),
        "replace": dying(os.replace, made=named),
        "unlink": dying(os.unlink, made=False),
    }
    before = {name: getattr(os, name) for name in calls}
    _set(calls)
    try:
        yield
    finally:
        _set(before)


def _set(calls: Mapping[str, Callable[..., Any]]) -> None:
    for name, call in calls.items():
        setattr(os, name, call)

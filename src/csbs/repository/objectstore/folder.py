"""A store in a local folder, durable by fsync.

    put      objects.tmp/<random>   write, fsync
             link to the key        atomic, fails if the key is taken
             fsync of the folder    from here on the object survives a power cut
             unlink the temporary file

A *reserve* file is kept so that a full file system can be emptied: deleting needs a little space
itself (a tombstone, a void).  Writers stop earlier, while `min_free` is left.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4  # noqa: TID251  a name that nobody else has decides nothing

from csbs.repository.errors import (
    CorruptObject,
    ObjectNotFound,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
)
from csbs.repository.objectstore.base import Bytes, ObjectInfo, checked_key, require_same
from csbs.repository.objectstore.direct_io import read_range, write_parts
from csbs.repository.objectstore.reserve import Reserve

#: Outside every key's alphabet of first characters, so no key can name them.
_TEMPORARY = "_tmp"
_RESERVE = "_reserve"


class MinFree(Protocol):
    """How much space writers must leave, given the size of the file system."""

    def __call__(self, total_bytes: int) -> int:
        """Bytes that must stay free."""


def default_min_free(total_bytes: int) -> int:
    """5 % of the file system, at least 1 GiB."""
    return max(total_bytes // 20, 1024**3)


class FolderStore:
    """Objects as files below `root`."""

    def __init__(self, root: Path, *, min_free: MinFree = default_min_free) -> None:
        """Uses the folder `root`; see `make` for one that may not exist yet."""
        self._root = root
        self._min_free = min_free
        self._reserve = Reserve(root / _RESERVE)
        #: Folders that this process has synced into their parents.
        self._synced: set[Path] = set()

    def make(self) -> None:
        """Makes the folder and the reserve.  Raises `StoreDenied`, `StoreFull`."""
        with self._foreign_errors(str(self._root)):
            (self._root / _TEMPORARY).mkdir(parents=True, exist_ok=True)
            _sync_folder(self._root)
            _sync_folder(self._root.parent)
        self._renew_reserve()

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        """See `ObjectStore.put`."""
        path = self._path(key)
        size_bytes = sum(len(part) for part in parts)
        if use_reserve:
            self._give_up_reserve_when_full()
        else:
            self._require_space(size_bytes)
        self._create(path, key, parts)

    def replace(self, key: str, data: bytes) -> None:
        """See `ObjectStore.replace`."""
        path = self._path(key)
        self._give_up_reserve_when_full()
        with self._writing(key):
            temporary = self._written_temporary([data])
            temporary.replace(path)
            _sync_folder(path.parent)

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        with self._foreign_errors(key), self._path(key).open("rb", buffering=0) as file:
            wanted = os.fstat(file.fileno()).st_size - offset if size is None else size
            try:
                return read_range(file.fileno(), offset, max(wanted, 0))
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                os.scandir(self._root).close()  # raises if it is not this file alone
                raise CorruptObject(key, "bytes that can be read", "an I/O error") from error

    def size(self, key: str) -> int:
        """See `ObjectStore.size`."""
        with self._foreign_errors(key):
            return self._path(key).stat().st_size

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`."""
        self._require_mounted()  # else an empty listing would mean "no backups"
        folder = self._root / prefix.rpartition("/")[0]
        yield from self._walk(folder, prefix)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        path = self._path(key)
        with self._foreign_errors(key):
            try:
                path.unlink()
            except FileNotFoundError:
                self._require_mounted()
                return
            _sync_folder(path.parent)

    def clear_leftovers(self) -> None:
        """See `ObjectStore.clear_leftovers`."""
        with self._foreign_errors(_TEMPORARY):
            for path in (self._root / _TEMPORARY).iterdir():
                path.unlink(missing_ok=True)
        self._renew_reserve()

    # --- writing -----------------------------------------------------------------------------

    def _create(self, path: Path, key: str, parts: Sequence[Bytes]) -> None:
        with self._writing(key):
            self._make_folder(path.parent)
            temporary = self._written_temporary(parts)
            try:
                os.link(temporary, path)
            except FileExistsError:
                _sync_folder(path.parent)  # whoever made it may have died before syncing it
                require_same(self, key, parts)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(path.parent)

    def _written_temporary(self, parts: Sequence[Bytes]) -> Path:
        path = self._root / _TEMPORARY / uuid4().hex
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                write_parts(descriptor, parts)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path

    def _make_folder(self, folder: Path) -> None:
        if folder in self._synced:
            return
        self._require_mounted()  # else it would be made anew, on another file system
        folder.mkdir(parents=True, exist_ok=True)
        below = folder
        while below != self._root:  # whoever made it may have died before syncing it
            _sync_folder(below.parent)
            below = below.parent
        self._synced.add(folder)

    # --- space -------------------------------------------------------------------------------

    def _require_space(self, size_bytes: int) -> None:
        with self._foreign_errors(str(self._root)):
            usage = shutil.disk_usage(self._root)
        needed_bytes = self._min_free(usage.total) + size_bytes
        if usage.free < needed_bytes:
            raise StoreFull(str(self._root), usage.free, needed_bytes)

    def _give_up_reserve_when_full(self) -> None:
        with self._foreign_errors(str(self._root)):
            self._reserve.give_up_when_full()

    def _renew_reserve(self) -> None:
        with self._foreign_errors(_RESERVE):
            self._reserve.renew()

    # --- reading -----------------------------------------------------------------------------

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectInfo]:
        with self._foreign_errors(prefix):
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                return
        for entry in entries:
            if entry.name.startswith("_"):
                continue
            key = os.path.relpath(entry.path, self._root)
            if entry.is_dir(follow_symlinks=False):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(Path(entry.path), prefix)
            elif key.startswith(prefix):
                with suppress(FileNotFoundError):  # deleted since it was listed
                    yield ObjectInfo(key, entry.stat().st_size)

    def _require_mounted(self) -> None:
        if not (self._root / _TEMPORARY).is_dir():
            raise StoreUnavailable(str(self._root), "the folder is not there; is it mounted?")

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)

    @contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            with self._foreign_errors(key):
                yield
        except ObjectNotFound as error:
            raise StoreUnavailable(key, "its folder vanished; is it mounted?") from error

    @contextmanager
    def _foreign_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            self._require_mounted()
            raise ObjectNotFound(key) from error
        except PermissionError as error:
            raise StoreDenied(str(self._root), error.strerror or str(error)) from error
        except OSError as error:
            if error.errno == errno.EROFS:
                raise StoreDenied(str(self._root), error.strerror or str(error)) from error
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(str(self._root), 0, 1) from error
            raise StoreUnavailable(key, error.strerror or str(error)) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Files of keys on this machine, outside the store.

region key file           one key a line; the last is for new repositories, the others are for
                          those that a rotation has not reached yet
recovery key file         given by a person, on the worst day
recovery-<key id>.key     a recovery key that nobody has been shown yet; it is there before
                          the first object that it can open, and goes when it was shown
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from csbs.domain.clock import RandomBytes
from csbs.repository.aead import KEY_SIZE
from csbs.repository.errors import KeyFileUnusable
from csbs.repository.key_text import KeyKind, key_id, key_text, keys_of_text

_REGION_COMMENT = """\
# Region key of csbs: without it, or a recovery key, nobody reads the encrypted repositories.
# Keep a copy in another place than the store.
"""
_RECOVERY_COMMENT = """\
# Recovery key of a repository of csbs. Keep it on paper or in a safe, and delete this file.
"""


class KeyFiles:
    """The files; all methods raise `KeyFileUnusable` for one that cannot be read or written."""

    def __init__(
        self,
        region_file: Path,
        *,
        folder: Path,
        random_bytes: RandomBytes,
        recovery_file: Path | None = None,
        others_use: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`folder` is for recovery keys that wait; `recovery_file` has one to open with.

        `others_use` says whether something else than the repository at hand needs a region key.
        """
        self.region_file = region_file
        self.recovery_file = recovery_file
        self._folder = folder
        self._random_bytes = random_bytes
        self._others_use = others_use

    # --- region keys -----------------------------------------------------------------------------

    def region_keys(self) -> list[bytes]:
        """All keys of the file, the newest last; none where there is no file."""
        with _named(self.region_file):
            if not self.region_file.exists():
                return []
            mode = self.region_file.stat().st_mode & 0o777
        if mode & 0o077:
            why = f"others may open it (mode {mode:04o}); run chmod 600 {self.region_file}"
            raise KeyFileUnusable(str(self.region_file), why)
        return _keys(KeyKind.REGION, self.region_file)

    def region_key(self, wanted_id: str) -> bytes | None:
        """The key with this id; None if the file has none, or is not there."""
        return next((key for key in self.region_keys() if key_id(key) == wanted_id), None)

    def newest_region_key(self) -> bytes:
        """The key for new repositories; made, with its file, where there is no file yet."""
        if not self.region_keys():
            self._write_region([self._random_bytes(KEY_SIZE)], replace=False)
        return self.region_keys()[-1]

    def next_region_key(self, former_id: str) -> bytes:
        """A key to put in the place of `former_id`; durable, beside the former one.

        The newest key, unless that is the former one: so a rotation that died goes on.
        """
        keys = self.region_keys()
        if not keys or key_id(keys[-1]) == former_id:
            keys.append(self._random_bytes(KEY_SIZE))
            self._write_region(keys, replace=True)
        return keys[-1]

    def drop_region_key(self, former_id: str) -> None:
        """Takes a key out of the file, unless something else needs it."""
        if self._others_use(former_id):
            return
        keys = self.region_keys()
        left = [key for key in keys if key_id(key) != former_id]
        if left != keys:
            self._write_region(left, replace=True)

    # --- recovery keys ---------------------------------------------------------------------------

    def recovery_key(self) -> bytes | None:
        """The recovery key that a person gave to open with; None if he gave no file."""
        if self.recovery_file is None:
            return None
        keys = _keys(KeyKind.RECOVERY, self.recovery_file)
        if len(keys) != 1:
            raise KeyFileUnusable(str(self.recovery_file), f"it has {len(keys)} keys, not one")
        return keys[0]

    def keep_recovery_key(self, key: bytes) -> None:
        """Keeps a new one until it is shown; durable."""
        text = f"{_RECOVERY_COMMENT}{key_text(KeyKind.RECOVERY, key)}\n"
        _write_private(self.waiting_recovery_file(key_id(key)), text, replace=True)

    def waiting_recovery_file(self, wanted_id: str) -> Path:
        """Where the key with this id waits to be shown, if it does."""
        return self._folder / f"recovery-{wanted_id}.key"

    def waiting_recovery_key(self, wanted_id: str) -> bytes | None:
        """The key with this id that nobody was shown yet; None if it was shown."""
        path = self.waiting_recovery_file(wanted_id)
        with _named(path):
            if not path.exists():
                return None
        keys = _keys(KeyKind.RECOVERY, path)
        return next((key for key in keys if key_id(key) == wanted_id), None)

    def drop_recovery_key(self, wanted_id: str) -> None:
        """It was shown, or opens nothing; one that is not there is fine."""
        path = self.waiting_recovery_file(wanted_id)
        with _named(path):
            path.unlink(missing_ok=True)

    def _write_region(self, keys: Sequence[bytes], *, replace: bool) -> None:
        lines = [f"{key_text(KeyKind.REGION, key)}\n" for key in keys]
        _write_private(self.region_file, "".join((_REGION_COMMENT, *lines)), replace=replace)


def _keys(kind: KeyKind, path: Path) -> list[bytes]:
    with _named(path):
        try:
            return keys_of_text(kind, path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise KeyFileUnusable(str(path), str(error)) from None


def _write_private(path: Path, text: str, *, replace: bool) -> None:
    """Writes the file in one step, for its owner alone; not `replace`: the first of all stays."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                part.replace(path)
            else:
                with suppress(FileExistsError):  # another process was faster
                    path.hardlink_to(part)
        finally:
            part.unlink(missing_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What the machine says of the file becomes ours."""
    try:
        yield
    except OSError as error:
        raise KeyFileUnusable(str(path), error.strerror or str(error)) from error

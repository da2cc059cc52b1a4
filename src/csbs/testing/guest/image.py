"""The guest's image: built once, kept in a cache, shared by all that need a real guest.

<cache>/<hash of the recipe>/   system.qcow2 data.qcow2 vmlinuz initrd.img
<cache>/.building/              becomes the above by a rename, when it is whole
<cache>/.lock                   held by the one that builds
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from csbs.blockio.processes import run_tool
from csbs.testing.guest import recipe

_USUAL_CACHE = Path("/var/cache/csbs")
_BUILDING = ".building"
_LOCK = ".lock"
_ENTRY = re.compile(r"[0-9a-f]{16}")
#: Packages come over the network.
_BUILD_TIMEOUT_S = 1200.0
_TOOL_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class GuestImage:
    """Files from which guests are made; nobody writes to them."""

    folder: Path

    @property
    def system(self) -> Path:
        """Disk with the root file system (qcow2); the guest's vda."""
        return self.folder / "system.qcow2"

    @property
    def data(self) -> Path:
        """Disk with MariaDB's data (qcow2); the guest's vdb."""
        return self.folder / "data.qcow2"

    @property
    def kernel(self) -> Path:
        """The guest is booted directly: its disks have no boot loader."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The kernel's initial RAM disk."""
        return self.folder / "initrd.img"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where images are kept: `CSBS_CACHE_DIR`, or the usual folder."""
    return Path(environment.get("CSBS_CACHE_DIR") or _USUAL_CACHE).absolute()


def ensure_image(cache: Path, say: Callable[[str], None]) -> GuestImage:
    """The image of the present recipe, built if the cache does not have it.

    Of several builders one builds, and the others wait for it.  One that is killed leaves no
    image.  Needs root.  Raises `ToolFailed`.
    """
    image = GuestImage(cache / recipe.recipe_hash())
    if image.folder.is_dir():
        return image
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache):
        if not image.folder.is_dir():
            say(f"building the guest's image in {image.folder} (about two minutes)")
            _build(cache / _BUILDING, image.folder)
    return image


def clear_cache(cache: Path) -> None:
    """Removes all images, also those of other recipes, and nothing else that lies there."""
    if not cache.is_dir():
        return
    with _locked(cache):
        for entry in cache.iterdir():
            if entry.name == _BUILDING or _ENTRY.fullmatch(entry.name):
                _remove(entry)
        (cache / _LOCK).unlink()
    if not any(cache.iterdir()):
        cache.rmdir()


def _build(building: Path, folder: Path) -> None:
    _remove(building)
    building.mkdir()
    root, sources = building / "root", building / "sources.list"
    sources.write_text(recipe.apt_sources(), encoding="utf-8")
    run_tool(
        recipe.build_command(root, sources),
        doing="making the guest's root",
        timeout_s=_BUILD_TIMEOUT_S,
    )
    image = GuestImage(building)
    # Links at the top of a Debian root, kept by the kernel's package.
    shutil.copy(root / "vmlinuz", image.kernel)
    shutil.copy(root / "initrd.img", image.initrd)
    _empty(root / "boot")
    database = root / "var" / "lib" / "mysql"
    _make_disk(image.data, database, label="csbs-data", size_bytes=recipe.DATA_SIZE_BYTES)
    _empty(database)
    _make_disk(image.system, root, label="csbs-system", size_bytes=recipe.SYSTEM_SIZE_BYTES)
    _remove(root)
    sources.unlink()
    building.rename(folder)


def _make_disk(disk: Path, content: Path, *, label: str, size_bytes: int) -> None:
    """A qcow2 of an ext4 with the content of a folder; the folder's owner owns its top."""
    raw = disk.with_suffix(".raw")
    owner = content.stat()
    run_tool(
        [
            *("mke2fs", "-q", "-t", "ext4", "-L", label, "-m", "0"),
            *("-E", f"root_owner={owner.st_uid}:{owner.st_gid}", "-d", str(content)),
            *(str(raw), f"{size_bytes // 1024}k"),
        ],
        doing=f"making the file system {label}",
        timeout_s=_TOOL_TIMEOUT_S,
    )
    run_tool(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(disk)],
        doing=f"making {disk.name}",
        timeout_s=_TOOL_TIMEOUT_S,
    )
    raw.unlink()


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        _remove(entry)


def _remove(path: Path) -> None:
    """Never enters another file system: a build that was killed may have left /proc mounted."""
    run_tool(
        ["rm", "-rf", "--one-file-system", str(path)],
        doing=f"removing {path}",
        timeout_s=_TOOL_TIMEOUT_S,
    )


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    descriptor = os.open(cache / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

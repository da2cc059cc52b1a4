"""Image files, by `qemu-img`.

The format is always given: QEMU's guess would follow what a guest wrote to the first sector of a
raw disk.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csbs.blockio.processes import run_tool
from csbs.domain.errors import ToolFailed

#: Headers and bitmap tables only; long enough for a storage that is busy.
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBitmap:
    """A persistent bitmap, as the image file has it."""

    name: str
    granularity_bytes: int
    #: Somebody has the image open for writing, or had when he was killed: what the file says of
    #: the bitmap is void.
    in_use: bool
    #: It records whenever the image is open for writing.
    recording: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What an image file says of itself."""

    format: str
    virtual_size_bytes: int
    bitmaps: tuple[ImageBitmap, ...]
    #: It can hold persistent bitmaps: qcow2 of version 3.
    takes_bitmaps: bool
    #: What unwritten blocks are read from, as the image names it.
    backing: str | None

    def bitmap(self, name: str) -> ImageBitmap | None:
        """The bitmap of this name, if there is one."""
        return next((bitmap for bitmap in self.bitmaps if bitmap.name == name), None)


def image_info(path: str | Path, *, image_format: str) -> ImageInfo:
    """Reads the header, also while the image is in use.  Raises `ToolFailed` naming the file."""
    doing = f"looking at {path}"
    text = run_tool(
        ["qemu-img", "info", "-U", "--output=json", "-f", image_format, str(path)],
        doing=doing,
        timeout_s=_TIMEOUT_S,
    )
    try:
        return _parsed(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise ToolFailed("qemu-img", doing, f"its answer is not understood: {error!r}") from error


def create_image(path: str | Path, *, image_format: str, size_bytes: int) -> None:
    """Makes an empty image.  Raises `ToolFailed`, also if the file is there already."""
    doing = f"making {path}"
    if Path(path).exists():
        raise ToolFailed("qemu-img", doing, "the file is there already")
    run_tool(
        ["qemu-img", "create", "-q", "-f", image_format, str(path), str(size_bytes)],
        doing=doing,
        timeout_s=_TIMEOUT_S,
    )


def add_bitmap(path: str | Path, name: str) -> None:
    """Adds a persistent bitmap, which records from now on, to a qcow2 image that nobody uses.

    Raises `ToolFailed` naming the file.
    """
    run_tool(
        ["qemu-img", "bitmap", "--add", "-f", "qcow2", str(path), name],
        doing=f"adding a bitmap to {path}",
        timeout_s=_TIMEOUT_S,
    )


def remove_bitmap(path: str | Path, name: str) -> None:
    """Removes a persistent bitmap, a broken one too, from a qcow2 image that nobody uses.

    Raises `ToolFailed` naming the file.
    """
    run_tool(
        ["qemu-img", "bitmap", "--remove", "-f", "qcow2", str(path), name],
        doing=f"removing a bitmap from {path}",
        timeout_s=_TIMEOUT_S,
    )


def _parsed(info: dict[str, Any]) -> ImageInfo:
    specific = info.get("format-specific", {}).get("data", {})
    return ImageInfo(
        format=info["format"],
        virtual_size_bytes=info["virtual-size"],
        bitmaps=tuple(
            ImageBitmap(
                name=each["name"],
                granularity_bytes=each["granularity"],
                in_use="in-use" in each["flags"],
                recording="auto" in each["flags"],
            )
            for each in specific.get("bitmaps", [])
        ),
        takes_bitmaps=info["format"] == "qcow2" and specific.get("compat") == "1.1",
        backing=info.get("full-backing-filename"),
    )

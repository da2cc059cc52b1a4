"""The rescue tool reads an encrypted store with either key, and tells what does not open.

The store in `encrypted-store.tar.gz` was written by the engine: a disk in two backups, with its
region key and its recovery key.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3

import csbs.rescue
from csbs.domain.extents import BLOCK_SIZE

TOOL = Path(csbs.rescue.__file__)
KEYS = ["region.key", "recovery.key"]
SIZE = 600 * BLOCK_SIZE + 5


@dataclass(frozen=True)
class Folder:
    """The store unpacked, and its keys."""

    path: Path

    def rescue(self, key: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
        options = [] if key is None else ["--key-file", str(self.path / key)]
        return subprocess.run(
            [sys.executable, "-I", str(TOOL), *options, str(self.path / "store"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def only(self, pattern: str) -> Path:
        [found] = (self.path / "store").glob(pattern)
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    archive = Path(__file__).with_name("encrypted-store.tar.gz")
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True, timeout=60)
    return Folder(tmp_path)


def block(number: int) -> bytes:
    return (f"block {number} ".encode() * 6000)[:BLOCK_SIZE].ljust(BLOCK_SIZE, b"\0")


def disk(blocks: dict[int, bytes]) -> bytes:
    data = bytearray(SIZE)
    for number, plain in blocks.items():
        data[number * BLOCK_SIZE : number * BLOCK_SIZE + len(plain)] = plain
    return bytes(data)


FIRST = {0: block(0), 3: block(3), 520: block(520), 600: b"tail."}


@pytest.mark.parametrize("key", KEYS)
def test_either_key_opens_it(folder: Folder, tmp_path: Path, key: str) -> None:
    listed = folder.rescue(key, "list")
    for name in ("first", "second"):
        done = folder.rescue(key, "restore", name, "vda", str(tmp_path / name))
        assert (done.returncode, done.stderr) == (0, "")

    assert [line.split()[2] for line in listed.stdout.splitlines()] == ["first", "second"]
    assert (tmp_path / "first").read_bytes() == disk(FIRST)
    assert (tmp_path / "second").read_bytes() == disk(FIRST | {3: block(7)})
    assert folder.rescue(key, "show", "first", "--xml").stdout == "<domain/>\n"
    assert json.loads(folder.rescue(key, "show", "first").stdout)["facts"]["name"] == "first"


def test_without_a_key_or_with_another_one_it_says_so(folder: Folder) -> None:
    other = (folder.path / "region.key").read_text().replace("DPGM", "DPGN")
    (folder.path / "mistyped.key").write_text(other)
    (folder.path / "empty.key").write_text("# nothing\n")
    (folder.path / "no.key").write_text("hello world\n")

    for key, code, told in (
        (None, 6, "is encrypted"),
        ("empty.key", 6, "no key that opens"),
        ("mistyped.key", 2, "mistyped"),
        ("no.key", 2, "this is no key"),
    ):
        done = folder.rescue(key, "list")
        assert (done.returncode, told in done.stderr) == (code, True), done.stderr


def test_a_key_may_be_typed_without_care(folder: Folder) -> None:
    word, _, text = (folder.path / "recovery.key").read_text().splitlines()[-1].partition(" ")
    (folder.path / "typed.key").write_text(f"\n  {word} {text.lower().replace('-', ' ')}\n")

    assert folder.rescue("typed.key", "list").returncode == 0


@pytest.mark.parametrize("key", KEYS)
def test_a_key_ring_that_was_changed_does_not_open(folder: Folder, key: str) -> None:
    path = folder.only("keys/*/*")
    magic, _, body = path.read_bytes().split(b"\n", 2)
    ring = json.loads(body)
    ring["keys"].append(ring["keys"][-1])
    changed = json.dumps(ring).encode()
    path.write_bytes(magic + b"\n" + blake3(changed).hexdigest().encode() + b"\n" + changed)
    done = folder.rescue(key, "list")

    assert (done.returncode, "the key ring does not open" in done.stderr) == (8, True)


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "damaged"])
def test_the_twin_of_a_lost_key_ring_opens_it(
    folder: Folder, tmp_path: Path, *, gone: bool
) -> None:
    path = folder.only("keys/*/*")
    twin = folder.path / "store" / "twins" / path.relative_to(folder.path / "store")
    twin.parent.mkdir(parents=True)
    twin.write_bytes(path.read_bytes())
    if gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    done = folder.rescue("recovery.key", "restore", "first", "vda", str(tmp_path / "out"))

    assert (done.returncode, "its twin was read" in done.stderr) == (8, True)
    assert (tmp_path / "out").read_bytes() == disk(FIRST)


def test_a_frame_opens_at_its_address_only(folder: Folder, tmp_path: Path) -> None:
    packs = sorted((folder.path / "store").glob("packs/*/*"))
    for path in packs:
        data = bytearray(path.read_bytes())
        data[80 + 12] ^= 1  # the first encrypted byte of its first frame
        path.write_bytes(data)
    done = folder.rescue("region.key", "restore", "first", "vda", str(tmp_path / "out"))

    assert done.returncode == 8
    assert "does not open" in done.stderr
    assert not (tmp_path / "out").exists()

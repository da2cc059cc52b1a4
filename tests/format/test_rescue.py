"""The rescue tool reads the engine's stores, alone: one file, started as a program of its own."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import csbs.rescue
from csbs.domain.extents import BLOCK_SIZE
from csbs.repository import HOLE, ZERO, Manifest, Repository, text_object
from csbs.repository.node import encode_node
from csbs.repository.objectstore import FolderStore
from csbs.testing.repositories import START, Lab, noise, write_image
from tests.format import samples

LEAF = 512 * BLOCK_SIZE
TOOL = Path(csbs.rescue.__file__)
#: Hides a module from a program.
_HIDE = (
    "import sys, runpy; sys.modules['blake3'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@dataclass(frozen=True)
class Done:
    code: int
    output: str
    errors: str


def rescue(*arguments: str | Path) -> Done:
    """Runs a copy that lies nowhere near csbs."""
    return _run([str(TOOL)], arguments)


def _run(program: list[str], arguments: tuple[str | Path, ...]) -> Done:
    run = subprocess.run(
        [sys.executable, "-I", *program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Done(run.returncode, run.stdout, run.stderr)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def lab(tmp_path: Path, folder: Path) -> Iterator[Lab]:
    store = FolderStore(folder, min_free=lambda _: 0)
    store.make()
    lab = Lab(store, tmp_path)
    yield lab
    lab.close()


def facts(name: str) -> dict[str, object]:
    return {
        "name": name,
        "server": {"name": "web-整机", "definition_xml": "<domain>整</domain>"},
        "disks": [{"id": "disk", "target": "vda"}],
    }


def back_up(lab: Lab, name: str, data: bytes) -> Manifest:
    writer = lab.begin()
    blocks = {
        i: data[i * BLOCK_SIZE : (i + 1) * BLOCK_SIZE] for i in range(-(-len(data) // BLOCK_SIZE))
    }
    write_image(writer, len(data), blocks)
    return writer.commit(created_at=START, facts=facts(name))


def other_owner(lab: Lab) -> Repository:
    """Another catalog, which takes the repository over."""
    other = Repository.open(
        lab.store,
        name="the other's",
        catalog_id=lab.new_id(),
        clock=lambda: START,
        new_id=lab.new_id,
    )
    return other.take_over(START)


def restored(folder: Path, manifest: Manifest, image_id: str, output: Path) -> bytes:
    output.unlink(missing_ok=True)
    done = rescue(folder, "restore", manifest.backup_id, image_id, output)
    assert (done.code, done.errors) == (0, "")
    return output.read_bytes()


def test_it_imports_the_standard_library_and_the_modules_that_it_names() -> None:
    tree = ast.parse(TOOL.read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }

    assert imported - set(sys.stdlib_module_names) <= {"zstandard", "blake3", "cryptography"}


@pytest.mark.parametrize(
    "size", [0, 1, 512, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 5 * BLOCK_SIZE + 77]
)
def test_a_disk_of_any_size_is_restored(lab: Lab, folder: Path, tmp_path: Path, size: int) -> None:
    manifest = lab.back_up(noise(3, size))

    assert restored(folder, manifest, "disk", tmp_path / "disk.img") == noise(3, size)


def test_holes_zeroes_and_several_levels_are_restored(
    lab: Lab, folder: Path, tmp_path: Path
) -> None:
    first = lab.back_up(noise(1, 3 * BLOCK_SIZE) + b"text" * 40000 + bytes(2 * BLOCK_SIZE) + b"end")
    size = 513 * LEAF + 5  # three levels: 16 GiB, nearly all hole
    blocks = {2: noise(2), 700: noise(3), 512 * 512 + 3: b"z" * BLOCK_SIZE, 513 * 512: b"tail."}
    second = lab.back_up_blocks(size, blocks, first.images[0])
    writer = lab.begin()
    image = writer.image("disk", 3 * LEAF, parent=second.images[0])
    image.fill(0, 2, HOLE)
    image.fill(512, 1400, ZERO)
    image.finish()
    third = writer.commit(created_at=START, facts={})
    output = tmp_path / "disk.img"

    assert second.images[0].level == 2
    assert restored(folder, first, "disk", output) == lab.restored(first)
    assert restored(folder, third, "disk", output) == lab.restored(third)
    output.unlink()
    assert rescue(folder, "restore", second.backup_id, "disk", output).code == 0
    assert output.stat().st_size == size
    assert output.stat().st_blocks * 512 < 4 * 1024**2  # sparse
    with output.open("rb") as file:
        for block, data in blocks.items():
            file.seek(block * BLOCK_SIZE)
            assert file.read(len(data)) == data
        file.seek(3 * BLOCK_SIZE)
        assert file.read(4) == b"text"


def test_backups_are_listed_and_found_by_name(lab: Lab, folder: Path, tmp_path: Path) -> None:
    one, two = back_up(lab, "nightly", noise(1)), back_up(lab, "weekly", noise(2))
    listed = rescue(folder, "list")
    output = tmp_path / "disk.img"

    assert (listed.code, listed.errors) == (0, "")
    assert sorted(line.split()[0] for line in listed.output.splitlines()) == sorted(
        [one.backup_id, two.backup_id]
    )
    assert "nightly  server web-整机: vda 65536 bytes" in listed.output
    assert rescue(folder, "restore", "weekly", "vda", output).code == 0
    assert output.read_bytes() == noise(2)
    assert rescue(folder, "show", one.backup_id[:8], "--xml").output == "<domain>整</domain>\n"
    assert json.loads(rescue(folder, "show", "weekly").output)["backup_id"] == two.backup_id
    assert rescue(folder.parent, "list").output == listed.output  # the folder above will do


def test_deleted_ones_are_listed_only_when_asked_for_and_voids_never(
    lab: Lab, folder: Path, tmp_path: Path
) -> None:
    kept, deleted, undeleted, purged = (back_up(lab, f"b{n}", noise(n)) for n in range(4))
    lab.repository.delete(purged.key, purged.backup_id, deleted_at=START)
    lab.repository.collect(lab.index)
    for each in (deleted, undeleted):
        lab.repository.delete(each.key, each.backup_id, deleted_at=START)
    end = text_object.encode(text_object.TOMBSTONE_END_MAGIC, {"end": "undeleted"})
    lab.store.put(f"{undeleted.key}.tombstone-0001.end", [end])
    lab.begin().abort()

    def names(*options: str) -> list[str]:
        return sorted(
            line.split()[2] + line.partition("bytes")[2]
            for line in rescue(folder, "list", *options).output.splitlines()
        )

    assert names() == ["b0", "b2"]
    assert names("--all") == ["b0", "b1  (deleted)", "b2"]
    assert restored(folder, deleted, "disk", tmp_path / "disk.img") == noise(1)
    assert rescue(folder, "restore", purged.backup_id, "disk", tmp_path / "x").code == 3
    assert kept.key


def test_of_several_owners_what_counts_is_listed(lab: Lab, folder: Path, tmp_path: Path) -> None:
    first = back_up(lab, "first", noise(1))
    late = lab.begin()
    other = other_owner(lab)
    lab.repository = other
    second = back_up(lab, "second", noise(2))
    shutil.copy(folder / first.key, folder / late.manifest_key)
    data = text_object.decode(
        "m",
        text_object.MANIFEST_MAGIC,
        (folder / first.key).read_bytes(),
        key=lab.repository._opened.keys.manifests.mac_key,
    )
    data |= {"backup_id": late.manifest_key.partition("00000001-")[2], "facts": facts("late")}
    (folder / late.manifest_key).write_bytes(
        text_object.encode(
            text_object.MANIFEST_MAGIC, data, key=lab.repository._opened.keys.manifests.mac_key
        )
    )
    third = other_owner(lab)
    lab.repository = third
    back_up(lab, "third", noise(3))

    def names(*options: str) -> set[str]:
        return {line.split()[2] for line in rescue(folder, "list", *options).output.splitlines()}

    assert names() == {"first", "second", "third"}
    assert names("--all") == {"first", "second", "third", "late"}
    assert "(not counted)" in rescue(folder, "list", "--all").output
    assert restored(folder, second, "disk", tmp_path / "disk.img") == noise(2)


def test_an_owner_that_cannot_be_read_hides_nothing(lab: Lab, folder: Path) -> None:
    back_up(lab, "first", noise(1))
    other_owner(lab)
    for owner in ("owners/00000002", "twins/owners/00000002"):
        (folder / owner).write_bytes(b"?")
    done = rescue(folder, "list")

    assert done.code == 8
    assert "all manifests are taken to count" in done.errors
    assert "first" in done.output


@pytest.mark.parametrize("key", ["config", "owners/00000002"])
@pytest.mark.parametrize("gone", [True, False], ids=["gone", "damaged"])
def test_where_a_vital_object_is_lost_its_twin_is_read(
    lab: Lab, folder: Path, tmp_path: Path, key: str, *, gone: bool
) -> None:
    back_up(lab, "first", noise(1))
    lab.repository = other_owner(lab)
    second = back_up(lab, "second", noise(2))
    if gone:
        (folder / key).unlink()
    else:
        flip(folder / key, 100)
    done = rescue(folder, "list")

    assert (done.code, "its twin was read" in done.errors) == (8, True)
    assert [line.split()[2] for line in done.output.splitlines()] == ["first", "second"]
    assert rescue(folder, "restore", second.backup_id, "disk", tmp_path / "disk.img").code == 8
    assert (tmp_path / "disk.img").read_bytes() == noise(2)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_damaged_manifest_is_named_and_the_others_are_listed(lab: Lab, folder: Path) -> None:
    one, two = back_up(lab, "one", noise(1)), back_up(lab, "two", noise(2))
    flip(folder / one.key, 200)
    done = rescue(folder, "list")

    assert done.code == 8
    assert one.backup_id in done.errors
    assert done.output.split()[0] == two.backup_id


def test_a_manifest_of_a_newer_format_hides_no_other(lab: Lab, folder: Path) -> None:
    one, two = back_up(lab, "one", noise(1)), back_up(lab, "two", noise(2))
    key = lab.repository._opened.keys.manifests.mac_key
    whole = (folder / one.key).read_bytes()
    fields = text_object.decode("m", text_object.MANIFEST_MAGIC, whole, key=key)
    newer = text_object.encode(text_object.MANIFEST_MAGIC, {**fields, "format": 2}, key=key)
    (folder / one.key).write_bytes(newer)
    done = rescue(folder, "list")

    assert done.code == 8
    assert "is newer than this program" in done.errors
    assert done.output.split()[0] == two.backup_id


@pytest.fixture
def block_pack(lab: Lab, folder: Path) -> Callable[[Manifest], Path]:
    def find(manifest: Manifest) -> Path:
        root = manifest.images[0].root
        assert root is not None
        packs = [each for each in (folder / "packs").glob("*/*") if each.name != root.pack_id.hex()]
        return packs[0]

    return find


def test_a_damaged_block_stops_it_and_leaves_no_file(
    lab: Lab, folder: Path, tmp_path: Path, block_pack: Callable[[Manifest], Path]
) -> None:
    manifest = lab.back_up(noise(1) + noise(2))
    flip(block_pack(manifest), 100)
    done = rescue(folder, "restore", manifest.backup_id, "disk", tmp_path / "out" / "x")
    assert done.code == 7  # there is no such folder
    (tmp_path / "out").mkdir()
    done = rescue(folder, "restore", manifest.backup_id, "disk", tmp_path / "out" / "x")

    assert done.code == 8
    assert "bytes 0 to 65535" in done.errors
    assert list((tmp_path / "out").iterdir()) == []


def test_it_goes_on_behind_damage_when_told_to_and_says_what_is_lost(
    lab: Lab, folder: Path, tmp_path: Path, block_pack: Callable[[Manifest], Path]
) -> None:
    manifest = lab.back_up(noise(1) + noise(2))
    flip(block_pack(manifest), 100)
    output = tmp_path / "disk.img"
    done = rescue(folder, "restore", manifest.backup_id, "disk", output, "--keep-going")

    assert done.code == 8
    assert "lost: bytes 0 to 65535" in done.errors
    assert output.read_bytes() == bytes(BLOCK_SIZE) + noise(2)


def test_a_lost_node_loses_what_is_below_it_alone(lab: Lab, folder: Path, tmp_path: Path) -> None:
    first = lab.back_up_blocks(2 * LEAF, {0: noise(1), 600: noise(2)})
    second = lab.back_up_blocks(2 * LEAF, {601: noise(3)}, first.images[0])
    root = first.images[0].root
    assert root is not None
    (folder / "packs" / root.pack_id.hex()[:2] / root.pack_id.hex()).unlink()
    output = tmp_path / "disk.img"
    done = rescue(folder, "restore", second.backup_id, "disk", output, "--keep-going")

    assert done.code == 8
    assert f"lost: bytes 0 to {LEAF - 1}: " in done.errors
    data = output.read_bytes()
    assert data[601 * BLOCK_SIZE :][:BLOCK_SIZE] == noise(3)
    assert data[600 * BLOCK_SIZE :][:BLOCK_SIZE] == noise(2)


class NodeStore(csbs.rescue.Store):
    """Has one node, whatever it is asked for."""

    def __init__(self, node: bytes) -> None:
        self._node = node

    def plain(self, address: tuple[str, int], kind: int) -> bytes:
        del address, kind
        return self._node


def test_blocks_that_are_marked_as_damaged_are_lost() -> None:
    """The engine writes none yet."""
    store = NodeStore(encode_node(samples.leaf(), samples.table()))
    image = {"root": {"pack": "00", "slot": 0}, "level": 0, "size_bytes": 450 * BLOCK_SIZE}
    pieces = list(csbs.rescue.walk(store, image))

    assert [(piece.block, piece.why_lost) for piece in pieces] == [
        (0, ""),
        (300, ""),
        (400, "was lost before this backup"),
    ]


def test_a_file_that_is_there_is_left_alone(lab: Lab, folder: Path, tmp_path: Path) -> None:
    manifest = lab.back_up(noise(1))
    output = tmp_path / "disk.img"
    output.write_bytes(b"mine")
    done = rescue(folder, "restore", manifest.backup_id, "disk", output)

    assert (done.code, done.errors) == (5, f"error: {output} exists\n")
    assert output.read_bytes() == b"mine"


def test_a_newer_format_is_refused(lab: Lab, folder: Path) -> None:
    config = (folder / "config").read_bytes()
    fields = text_object.decode("config", text_object.CONFIG_MAGIC, config)
    newer = text_object.encode(text_object.CONFIG_MAGIC, {**fields, "format": 2})
    (folder / "config").write_bytes(newer)
    done = rescue(folder, "list")

    assert done.code == 5
    assert "newer" in done.errors


def test_what_is_not_there_is_said(lab: Lab, folder: Path, tmp_path: Path) -> None:
    manifest = back_up(lab, "one", noise(1))

    assert rescue(tmp_path / "nowhere", "list").code == 3
    assert rescue(folder, "restore", "two", "vda", tmp_path / "x").code == 3
    done = rescue(folder, "restore", manifest.backup_id, "vdb", tmp_path / "x")
    assert (done.code, "it has vda" in done.errors) == (3, True)


def test_without_blake3_it_restores_and_says_that_nothing_is_checked(
    lab: Lab, folder: Path, tmp_path: Path
) -> None:
    manifest = lab.back_up(noise(1) + b"text" * 20000)
    output = tmp_path / "disk.img"
    hidden = ["-c", _HIDE, str(TOOL)]
    done = _run(hidden, (folder, "restore", manifest.backup_id, "disk", output))

    assert done.code == 0
    assert "nothing is checked" in done.errors
    assert output.read_bytes() == lab.restored(manifest)

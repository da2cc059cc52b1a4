"""Maps as trees: sharing, growth, cuts, any size."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbs.domain.extents import BLOCK_SIZE, block_count
from csbs.repository import DAMAGED, HOLE, STORED, ZERO, Image, Run
from csbs.repository.errors import BlockDamaged
from csbs.repository.map_reader import MapReader
from csbs.repository.node import FANOUT, Node, PackTable, uniform_allocation
from csbs.repository.objectstore import MemoryStore
from csbs.testing.repositories import START, Lab, noise, restored, write_image

LEAF = FANOUT
MIB = 1024 * 1024
TIB = 1024**4


def image_of(
    lab: Lab, size_bytes: int, blocks: dict[int, bytes], parent: Image | None = None
) -> Image:
    return lab.back_up_blocks(size_bytes, blocks, parent).images[0]


def filled(
    lab: Lab, size_bytes: int, fills: list[tuple[int, int, int]], parent: Image | None = None
) -> Image:
    writer = lab.begin()
    image = writer.image("disk", size_bytes, parent=parent)
    for first, end, state in fills:
        image.fill(first, end, state)
    image.finish()
    return writer.commit(created_at=START, facts={}).images[0]


def runs(lab: Lab, image: Image) -> list[tuple[int, int, int]]:
    return [(r.first_block, r.end_block, r.state) for r in lab.repository.reader(image).runs()]


def counted(lab: Lab, image: Image) -> int:
    maps = MapReader(lab.repository._packs, PackTable())
    return maps.count_stored(image.level, maps.root(image))


@pytest.mark.parametrize(
    ("size_bytes", "level"),
    [
        (0, 0),
        (1, 0),
        (65535, 0),
        (65536, 0),
        (65537, 0),
        (32 * MIB - 1, 0),
        (32 * MIB, 0),
        (32 * MIB + 1, 1),
        (16 * 1024 * MIB, 1),
        (16 * 1024 * MIB + 1, 2),
        (8 * TIB + 1, 3),
        (64 * TIB, 3),
    ],
)
def test_a_disk_of_any_size_has_its_level_and_comes_back(
    lab: Lab, size_bytes: int, level: int
) -> None:
    count = block_count(size_bytes)
    last_size = size_bytes - (count - 1) * BLOCK_SIZE
    blocks = {0: noise(1)[: min(size_bytes, BLOCK_SIZE)]} if count else {}
    if count:
        blocks[count - 1] = noise(2)[:last_size]
    image = image_of(lab, size_bytes, blocks)
    reader = lab.repository.reader(image)

    assert image.level == level
    assert image.nonzero_blocks == len(blocks) == counted(lab, image)
    for number, data in blocks.items():
        assert reader.read(number * BLOCK_SIZE, BLOCK_SIZE) == data
    assert sum(end - first for first, end, _ in runs(lab, image)) == count


def test_an_increment_writes_only_the_nodes_on_its_path(lab: Lab, store: MemoryStore) -> None:
    size_bytes = 4 * LEAF * BLOCK_SIZE
    first = image_of(lab, size_bytes, {n * LEAF: noise(n) for n in range(4)})
    writer = lab.begin()
    second = write_image(writer, size_bytes, {LEAF + 7: noise(9)}, first)
    manifest = writer.commit(created_at=START, facts={})
    assert second.root is not None
    footer = lab.repository._packs.footer(second.root.pack_id)

    assert len(footer.slots) == 2  # one leaf and the root
    assert manifest.stored_bytes < BLOCK_SIZE + 4096
    assert counted(lab, second) == second.nonzero_blocks == 5
    assert lab.repository.difference(first, second) == second.changed_blocks == 1


def test_writing_back_the_old_content_gives_the_old_root(lab: Lab) -> None:
    size_bytes = 2 * LEAF * BLOCK_SIZE
    first = image_of(lab, size_bytes, {0: noise(1), LEAF: noise(2)})
    second = image_of(lab, size_bytes, {0: noise(3)}, first)
    third = image_of(lab, size_bytes, {0: noise(1)}, second)

    assert third.root != second.root
    assert lab.repository.difference(first, third) == 0
    assert image_of(lab, size_bytes, {0: noise(1), LEAF: noise(2)}, first).root == first.root


@pytest.mark.parametrize("state", [HOLE, ZERO], ids=["hole", "zero"])
@pytest.mark.parametrize("parent_has_it", [False, True])
def test_sixty_four_tib_are_filled_at_once(lab: Lab, state: int, *, parent_has_it: bool) -> None:
    count = 64 * TIB // BLOCK_SIZE
    blocks = {0: noise(1), 10**6: noise(2), count - 1: noise(3)} if parent_has_it else {}
    parent = image_of(lab, 64 * TIB, blocks)
    image = filled(lab, 64 * TIB, [(0, count, state)], parent)

    assert runs(lab, image) == [(0, count, state)]
    assert (image.nonzero_blocks, image.changed_blocks) == (0, 0)
    assert (image.root is None) == (state == HOLE)
    assert list(lab.repository.reader(image).fetches()) == []


def test_a_fill_of_odd_bounds_leaves_what_is_around(lab: Lab) -> None:
    size_bytes = 3 * LEAF * BLOCK_SIZE
    edges = {99: noise(1), 100: noise(2), 2 * LEAF + 5: noise(3), 2 * LEAF + 6: noise(4)}
    parent = image_of(lab, size_bytes, edges)
    image = filled(lab, size_bytes, [(100, 2 * LEAF + 6, ZERO)], parent)

    assert runs(lab, image) == [
        (0, 99, HOLE),
        (99, 100, STORED),
        (100, 2 * LEAF + 6, ZERO),
        (2 * LEAF + 6, 2 * LEAF + 7, STORED),
        (2 * LEAF + 7, 3 * LEAF, HOLE),
    ]
    assert image.nonzero_blocks == counted(lab, image) == 2


@pytest.mark.parametrize("old", [1, 100, LEAF, LEAF + 1, LEAF * LEAF, LEAF * LEAF + 1])
@pytest.mark.parametrize("new", [1, 100, LEAF, LEAF + 1, LEAF * LEAF, LEAF * LEAF + 1])
def test_a_disk_grows_and_is_cut(lab: Lab, old: int, new: int) -> None:
    first = image_of(lab, old * BLOCK_SIZE, {0: noise(1), old - 1: noise(2)})
    second = image_of(lab, new * BLOCK_SIZE, {}, first)
    reader = lab.repository.reader(second)
    kept = [number for number in {0, old - 1} if number < new]

    assert second.nonzero_blocks == counted(lab, second) == len(kept)
    assert second.changed_blocks == 0
    assert sum(end - begin for begin, end, _ in runs(lab, second)) == new
    for number in kept:
        expected = noise(2) if number == old - 1 else noise(1)
        assert reader.read(number * BLOCK_SIZE, BLOCK_SIZE) == expected
    assert lab.repository.difference(first, second) == 0
    if old == new:
        assert second.root == first.root


@pytest.mark.parametrize("old", [1, LEAF, LEAF * LEAF])
@pytest.mark.parametrize("new", [2, LEAF + 1, 2 * LEAF * LEAF])
def test_a_disk_that_is_all_zero_grows(lab: Lab, old: int, new: int) -> None:
    first = filled(lab, old * BLOCK_SIZE, [(0, old, ZERO)])
    second = image_of(lab, new * BLOCK_SIZE, {}, first)

    end = min(old, new)
    expected = [(0, end, ZERO)] + ([(end, new, HOLE)] if new > end else [])
    assert runs(lab, second) == expected


@pytest.mark.parametrize("old", [1, LEAF, LEAF + 1, LEAF * LEAF])
@pytest.mark.parametrize("end", [LEAF * LEAF, LEAF**3], ids=["a level", "two levels"])
@pytest.mark.parametrize("state", [HOLE, ZERO], ids=["hole", "zero"])
def test_all_of_a_disk_that_grew_is_discarded(lab: Lab, old: int, end: int, state: int) -> None:
    first = image_of(lab, old * BLOCK_SIZE, {0: noise(1), old - 1: noise(2)})
    second = filled(lab, 2 * end * BLOCK_SIZE, [(0, end, state)], first)

    assert counted(lab, second) == second.nonzero_blocks == 0
    expected = [(0, end, ZERO), (end, 2 * end, HOLE)] if state == ZERO else [(0, 2 * end, HOLE)]
    assert runs(lab, second) == expected


def test_a_disk_that_is_all_zero_is_cut(lab: Lab) -> None:
    count = 2 * LEAF * LEAF
    first = filled(lab, count * BLOCK_SIZE, [(0, count, ZERO)])

    for new in (count - 1, LEAF + 1, LEAF, 5, 1):
        image = image_of(lab, new * BLOCK_SIZE, {}, first)
        assert runs(lab, image) == [(0, new, ZERO)]
    assert image_of(lab, 0, {}, first).root is None


def test_old_bytes_do_not_come_back_when_a_cut_disk_grows_again(lab: Lab) -> None:
    data = noise(1, 2 * BLOCK_SIZE)
    first = image_of(lab, len(data), {0: data[:BLOCK_SIZE], 1: data[BLOCK_SIZE:]})
    cut = image_of(lab, BLOCK_SIZE + 100, {}, first)
    grown = image_of(lab, len(data), {}, cut)

    assert restored(lab.repository, cut) == data[: BLOCK_SIZE + 100]
    assert restored(lab.repository, grown) == data[: BLOCK_SIZE + 100].ljust(len(data), b"\0")


def test_the_cut_block_is_not_written_twice(lab: Lab) -> None:
    first = image_of(lab, BLOCK_SIZE, {0: noise(1)})
    cut = image_of(lab, 100, {0: noise(2, 100)}, first)

    assert restored(lab.repository, cut) == noise(2, 100)


def test_inner_nodes_tell_the_allocation_of_what_is_below(lab: Lab) -> None:
    size_bytes = 3 * LEAF * BLOCK_SIZE
    image = filled(lab, size_bytes, [(LEAF, 2 * LEAF, ZERO)])
    second = image_of(lab, size_bytes, {5: noise(1)}, image)
    maps = MapReader(lab.repository._packs, PackTable())
    root = maps.node(second.level, maps.root(second))
    leaf = Node.uniform(0, HOLE)
    leaf.states[5] = STORED

    assert root.allocation is not None
    assert root.allocation[:3].tolist() == [
        leaf.allocation_value(),
        uniform_allocation(0, ZERO),
        uniform_allocation(0, HOLE),
    ]


def test_blocks_in_the_wrong_order_are_a_mistake(lab: Lab) -> None:
    image = lab.begin().image("disk", 4 * BLOCK_SIZE, parent=None)
    image.fill(0, 2, ZERO)

    with pytest.raises(AssertionError):
        image.fill(1, 3, ZERO)
    with pytest.raises(AssertionError):
        image.fill(3, 5, ZERO)
    with pytest.raises(AssertionError):
        image.fill(2, 3, STORED)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {0: 1, 600: 2}, 2),
        ({0: 1, 600: 2}, {0: 1, 600: 2}, 0),
        ({0: 1, 600: 2}, {0: 1, 600: 3}, 1),
        ({0: 1, 600: 2, 601: 4}, {0: 1}, 0),
        ({0: 1}, {0: 1, 600: 2, 601: 3}, 2),
    ],
)
def test_the_difference_counts_what_is_not_shared(
    lab: Lab, before: dict[int, int], after: dict[int, int], expected: int
) -> None:
    size_bytes = 3 * LEAF * BLOCK_SIZE
    first = image_of(lab, size_bytes, {n: noise(seed) for n, seed in before.items()})
    second = image_of(lab, size_bytes, {n: noise(seed) for n, seed in after.items()})

    assert lab.repository.difference(first, second) == expected
    assert lab.repository.difference(None, second) == len(after)


def test_the_difference_of_disks_of_other_sizes(lab: Lab) -> None:
    small = image_of(lab, 2 * BLOCK_SIZE, {0: noise(1), 1: noise(2)})
    large = image_of(lab, LEAF * LEAF * BLOCK_SIZE * 2, {1: noise(3), 10**5: noise(4)}, small)

    assert lab.repository.difference(small, large) == large.changed_blocks == 2
    assert lab.repository.difference(large, small) == 1


def test_a_damaged_block_is_told_and_never_read_as_bytes(lab: Lab) -> None:
    writer = lab.begin()
    image = writer.image("disk", 3 * BLOCK_SIZE, parent=None)
    image.write(0, image.encoder().encode(0, noise(1)))
    image._map._open_to(0, 1).node.states[1] = DAMAGED
    written = image.finish()
    writer.commit(created_at=START, facts={})
    reader = lab.repository.reader(written)

    assert list(reader.runs()) == [Run(0, 1, STORED), Run(1, 2, DAMAGED), Run(2, 3, HOLE)]
    assert reader.read(0, BLOCK_SIZE) == noise(1)
    with pytest.raises(BlockDamaged, match="block 1 "):
        reader.read(BLOCK_SIZE, 1)
    with pytest.raises(BlockDamaged):
        list(reader.fetches())


def differing(lab: Lab, before: Image, after: Image) -> set[int]:
    found = lab.repository.differing_runs(before, after)
    return {block for first, end in found for block in range(first, end)}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({}, {}, set(), id="holes"),
        pytest.param({0: 1}, {0: 1, 600: 1}, {600}, id="new"),
        pytest.param({0: 1, 600: 1}, {0: 1}, {600}, id="gone"),
        pytest.param({5: 1, 600: 2, 601: 3}, {5: 2, 600: 2, 601: 4}, {5, 601}, id="changed"),
    ],
)
def test_blocks_that_differ_are_found(
    lab: Lab, before: dict[int, int], after: dict[int, int], expected: set[int]
) -> None:
    size_bytes = 3 * LEAF * BLOCK_SIZE
    first = image_of(lab, size_bytes, {n: noise(seed) for n, seed in before.items()})
    second = image_of(lab, size_bytes, {n: noise(seed) for n, seed in after.items()})

    assert differing(lab, first, second) == differing(lab, second, first) == expected


def test_zero_and_hole_differ_however_large_the_disk(lab: Lab) -> None:
    count = 64 * TIB // BLOCK_SIZE
    first = filled(lab, 64 * TIB, [(0, count, ZERO)])
    second = filled(lab, 64 * TIB, [(LEAF, count, HOLE)], first)

    runs_found = list(lab.repository.differing_runs(first, second))
    assert runs_found[0][0] == LEAF
    assert all(one[1] == other[0] for one, other in pairwise(runs_found))
    assert runs_found[-1][1] >= count


_SEEDS = st.dictionaries(
    st.one_of(st.integers(0, 8), st.integers(LEAF - 3, LEAF + 3), st.integers(3 * LEAF, 3 * LEAF)),
    st.sampled_from([0, 1, 2]),
    max_size=8,
)
_SIZES = st.sampled_from([4, LEAF - 1, LEAF, LEAF + 2, 3 * LEAF + 1])


def _blocks(seeds: dict[int, int], count: int, cut_bytes: int) -> dict[int, bytes]:
    """Blocks of a disk that ends inside its last one, padded as they are stored."""
    found = {
        n: noise(seed) if seed else bytes(BLOCK_SIZE) for n, seed in seeds.items() if n < count
    }
    if count - 1 in found:
        found[count - 1] = found[count - 1][: BLOCK_SIZE - cut_bytes].ljust(BLOCK_SIZE, b"\0")
    return found


@settings(max_examples=60, deadline=None)
@given(
    first=_SEEDS,
    changes=_SEEDS,
    sizes=st.tuples(_SIZES, _SIZES),
    cuts=st.tuples(st.sampled_from([0, 512]), st.sampled_from([0, 512])),
    related=st.booleans(),
)
def test_blocks_that_differ_are_those_of_a_comparison_byte_by_byte(
    first: dict[int, int],
    changes: dict[int, int],
    sizes: tuple[int, int],
    cuts: tuple[int, int],
    *,
    related: bool,
) -> None:
    """Growth and shrink too: behind its end an image counts as a hole."""
    before = _blocks(first, sizes[0], cuts[0])
    after = _blocks(first | changes, sizes[1], cuts[1])
    with TemporaryDirectory() as folder:
        lab = Lab(MemoryStore(), Path(folder))
        old = image_of(lab, sizes[0] * BLOCK_SIZE - cuts[0], before)
        parent = old if related and sizes[0] == sizes[1] else None
        new = image_of(lab, sizes[1] * BLOCK_SIZE - cuts[1], after, parent)
        found = list(lab.repository.differing_runs(old, new))
        back = list(lab.repository.differing_runs(new, old))
        reader = lab.repository.reader(new)
        written = dict(each for fetch in reader.fetches(found) for each in reader.load(fetch))
        empty = [run for run in reader.runs(found) if run.state in {HOLE, ZERO}]
        lab.close()

    assert found == back
    assert all(one[0] < one[1] <= other[0] for one, other in pairwise(found))
    disk = {n: data for n, data in before.items() if any(data)}
    for run in empty:
        disk = {n: d for n, d in disk.items() if not run.first_block <= n < run.end_block}
    # What is written differs in bytes; what is zeroed may have been a hole or zero before.
    assert all(disk.get(n) != data for n, data in written.items())
    assert disk | written == {n: data for n, data in after.items() if any(data)}

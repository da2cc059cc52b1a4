"""Verification: is all there that backups need, and as it was written?

    1  text objects   config, owners, key rings and their twins, manifests with what voids or
                      deletes them, and what is known of damage
    2  maps           from the root of each live image, each node once: read, digest checked
    3  packs          each one there is: trailer and footer, and whether it has every block that
                      a map names.  Of the share that is to be read: all bytes, by the pack's own
                      check, and frame by frame
    4  what is lost   damage is traced back to backups, disks and ranges, and kept

Memory is two bits for each slot, of which a collection has one; nodes are visited once, and where
there is damage once more.  The caller holds the repository's lock as readers do: nothing goes away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.task import Progress
from csbs.repository.damage import Damage, damage_of
from csbs.repository.damaged_runs import DamagedRuns
from csbs.repository.errors import CorruptObject
from csbs.repository.manifest import Manifest
from csbs.repository.pack import pack_key
from csbs.repository.share import Share
from csbs.repository.verify_maps import Named
from csbs.repository.verify_packs import check_packs, packs_of
from csbs.repository.verify_report import (
    LISTED_MAX,
    DamagedImage,
    Findings,
    VerifyParts,
    VerifyReport,
)
from csbs.repository.verify_texts import check_text_objects


def verify(
    parts: VerifyParts, share: Share | None, keep: Callable[[Damage, Damage], bool]
) -> VerifyReport:
    """Verifies the structure, and all bytes of the packs of `share`.

    `keep` is called with all that is known to be damaged now, and what was known before, if these
    differ or a record of it was lost; it answers whether that was kept.  What was known before
    counts until all bytes of its pack were read.
    """
    found = Findings()
    before = check_text_objects(parts, found)
    manifests = list(_check_manifests(parts, found))
    named = Named(parts, found)
    for done, manifest in enumerate(manifests):
        parts.watch.progress(Progress(f"reading maps ({done} of {len(manifests)} backups)", 0, 0))
        for image in manifest.images:
            named.add(manifest, image)
    listed = packs_of(parts.store)
    named.number(listed)
    check_packs(parts, named, listed, share, found)
    named.tell_missing({pack_id for pack_id, _ in listed})
    there = {pack_id for pack_id, _ in listed} | named.pack_ids()
    still = before.without(found.read)
    still = Damage({each: slots for each, slots in still.packs.items() if each in there})
    _tell_known(still, found)
    damage = still.union(damage_of(found.places))
    kept = (damage == before and not found.record_lost) or keep(damage, before)
    lossy = damage or found.given_up
    images = tuple(_damaged_images(parts, manifests, damage)) if lossy else ()
    return VerifyReport(
        keys=frozenset(manifest.key for manifest in manifests),
        nodes=found.nodes,
        packs=len(listed),
        packs_read=found.packs_read,
        read_bytes=found.read_bytes,
        objects=tuple(sorted(found.objects, key=lambda each: each.key)),
        objects_left_off=found.objects_left_off,
        images=images,
        kept=kept,
        put_back=found.put_back,
    )


def _check_manifests(parts: VerifyParts, found: Findings) -> Iterator[Manifest]:
    """All live ones that can be read."""
    for key, each in parts.manifests.checked():
        parts.watch.check()
        if isinstance(each, CorruptObject):
            found.add(key, each)
        elif each is not None:
            yield each


# --- what is lost ----------------------------------------------------------------------------


def _tell_known(still: Damage, found: Findings) -> None:
    told = {each.key for each in found.objects}
    for pack_id in sorted(still.packs):
        key = pack_key(pack_id)
        if key not in told:
            found.add(key, f"object {key} was found damaged before, and was not read whole again")


def _damaged_images(
    parts: VerifyParts, manifests: Sequence[Manifest], damage: Damage
) -> Iterator[DamagedImage]:
    runs = DamagedRuns(parts.packs, damage)
    for done, manifest in enumerate(manifests):
        parts.watch.progress(
            Progress(f"naming what is lost ({done} of {len(manifests)} backups)", 0, 0)
        )
        for image in manifest.images:
            parts.watch.check()
            ranges: list[tuple[int, int]] = []
            lost_bytes = count = 0
            for offset_bytes, end_bytes in _joined(runs.of(image), image.size_bytes):
                lost_bytes += end_bytes - offset_bytes
                count += 1
                if count <= LISTED_MAX:
                    ranges.append((offset_bytes, end_bytes - offset_bytes))
            if count:
                yield DamagedImage(
                    manifest=manifest,
                    image=image,
                    lost_bytes=lost_bytes,
                    ranges=tuple(ranges),
                    ranges_left_off=count - len(ranges),
                )


def _joined(runs: Iterator[tuple[int, int]], size_bytes: int) -> Iterator[tuple[int, int]]:
    """Half-open ranges of bytes; runs that touch are one."""
    current: tuple[int, int] | None = None
    for first, end in runs:
        if current is not None and current[1] == first:
            current = current[0], end
            continue
        if current is not None:
            yield current[0] * BLOCK_SIZE, min(current[1] * BLOCK_SIZE, size_bytes)
        current = first, end
    if current is not None:
        yield current[0] * BLOCK_SIZE, min(current[1] * BLOCK_SIZE, size_bytes)

"""What is known to be damaged: the objects `damage/<n>`, of which the highest counts.

A footer says that a block is in a pack; only reading tells whether its bytes still are.  What a
verify or a restore found lost is kept, so that no backup names those slots again, and each disk
that still has the blocks stores them anew.  It lies in the store: whoever writes there must know
it, whichever catalog he has.  Lost knowledge costs a verify.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
from blake3 import blake3

from csbs.repository import text_object
from csbs.repository.errors import CorruptObject, ObjectExists, ObjectNotFound
from csbs.repository.manifest import parsed, time_text
from csbs.repository.node import U16, Flags
from csbs.repository.objectstore.base import ObjectStore

log = logging.getLogger(__name__)

PREFIX = "damage/"
_KEY = re.compile(r"damage/(\d{8})")
_PACK_ID_SIZE = 16
_FINGERPRINT_SIZE = 16
#: So many others may keep what they found in the same moment.
_ATTEMPTS_MAX = 10


@dataclass(frozen=True, slots=True)
class Damage:
    """Slots that cannot be trusted, by pack; None: none of the pack's."""

    packs: Mapping[bytes, frozenset[int] | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything is damaged."""
        return bool(self.packs)

    def has(self, pack_id: bytes, slot: int) -> bool:
        """Whether this frame is damaged."""
        slots = self.packs.get(pack_id, frozenset())
        return slots is None or slot in slots

    def mask(self, pack_id: bytes, slots: U16) -> Flags:
        """For each of these slots whether it is damaged."""
        bad = self.packs.get(pack_id, frozenset())
        if bad is None:
            return np.ones(len(slots), np.bool_)
        return np.isin(slots, np.array(sorted(bad), np.uint16))

    @property
    def fingerprint(self) -> str:
        """Stands for just this damage; empty for none."""
        if not self:
            return ""
        hasher = blake3()
        for pack_id, slots in sorted(self.packs.items()):
            hasher.update(pack_id + repr(None if slots is None else sorted(slots)).encode())
        return hasher.hexdigest(length=_FINGERPRINT_SIZE)

    def union(self, other: Damage) -> Damage:
        """All that one of both calls damaged."""
        packs = dict(self.packs)
        for pack_id, slots in other.packs.items():
            own = packs.get(pack_id, frozenset())
            packs[pack_id] = None if own is None or slots is None else own | slots
        return Damage(packs)

    def without(self, pack_ids: Collection[bytes]) -> Damage:
        """The same but for these packs."""
        return Damage({each: slots for each, slots in self.packs.items() if each not in pack_ids})


NO_DAMAGE = Damage()


def damage_of(places: Iterable[tuple[bytes, int | None]]) -> Damage:
    """The damage at these addresses; None for a slot: all of the pack."""
    packs: dict[bytes, set[int] | None] = {}
    for pack_id, slot in places:
        slots = packs.setdefault(pack_id, set())
        if slot is None or slots is None:
            packs[pack_id] = None
        else:
            slots.add(slot)
    return Damage(
        {each: None if found is None else frozenset(found) for each, found in packs.items()}
    )


def encode_damage(damage: Damage, found_at: datetime) -> bytes:
    """The object's bytes."""
    packs = {
        pack_id.hex(): None if slots is None else _runs(slots)
        for pack_id, slots in damage.packs.items()
    }
    fields = {"found_at": time_text(found_at), "packs": packs}
    return text_object.encode(text_object.DAMAGE_MAGIC, fields)


def decode_damage(key: str, data: bytes) -> Damage:
    """The damage in `data`.  Raises `CorruptObject` (with `key`)."""
    fields = text_object.decode(key, text_object.DAMAGE_MAGIC, data)
    return parsed(key, fields, _damage_from)


def known_damage(store: ObjectStore) -> Damage:
    """What is known to be damaged; a record that cannot be read counts as none."""
    for _ in range(_ATTEMPTS_MAX):
        number = max(_numbers(store), default=0)
        if not number:
            break
        key = damage_key(number)
        try:
            return decode_damage(key, store.get(key))
        except ObjectNotFound:  # a newer one took its place
            continue
        except CorruptObject as error:
            log.warning(
                "what was known of damage is lost: run `csbs repository verify --all`",
                extra={"why": str(error)},
            )
            break
    return NO_DAMAGE


def keep_damage(store: ObjectStore, damage: Damage, found_at: datetime) -> None:
    """From now on this is what is known to be damaged.  Raises what the store raises."""
    for _ in range(_ATTEMPTS_MAX):
        older = _numbers(store)
        try:
            store.put(
                damage_key(max(older, default=0) + 1),
                [encode_damage(damage, found_at)],
                use_reserve=True,
            )
        except ObjectExists:  # somebody else keeps what he found, in this moment
            continue
        for number in older:
            store.delete(damage_key(number))
        return
    raise ObjectExists(damage_key(max(_numbers(store), default=0)))


def damage_key(number: int) -> str:
    """Key of the record with this number."""
    return f"{PREFIX}{number:08d}"


def _numbers(store: ObjectStore) -> list[int]:
    matches = (_KEY.fullmatch(each.key) for each in store.list(PREFIX))
    return [int(match[1]) for match in matches if match]


def _runs(slots: Iterable[int]) -> list[list[int]]:
    """Half-open runs of the slots."""
    ordered = sorted(slots)
    edges = [i for i, (a, b) in enumerate(pairwise(ordered), 1) if b != a + 1]
    bounds = pairwise([0, *edges, len(ordered)])
    return [[ordered[start], ordered[end - 1] + 1] for start, end in bounds if end > start]


def _damage_from(fields: Mapping[str, Any]) -> Damage:
    packs: dict[bytes, frozenset[int] | None] = {}
    for name, runs in fields["packs"].items():
        pack_id = bytes.fromhex(name)
        if len(pack_id) != _PACK_ID_SIZE:
            raise ValueError(f"pack {name!r}")
        packs[pack_id] = (
            None
            if runs is None
            else frozenset(slot for start, end in runs for slot in range(int(start), int(end)))
        )
    return Damage(packs)

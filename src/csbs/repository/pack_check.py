"""Reading whole packs: by their own check, for which no key is needed, and frame by frame."""

from __future__ import annotations

from collections.abc import Callable

from blake3 import blake3

from csbs.domain.errors import Corrupt, OperationCancelled
from csbs.repository.errors import CorruptObject, MissingPack, ObjectNotFound
from csbs.repository.node import Address
from csbs.repository.objectstore.base import ObjectStore
from csbs.repository.pack import HEADER_MAGIC, HEADER_SIZE, Footer, pack_key
from csbs.repository.pack_reader import PackReader, load_footer

#: A store's latency counts little, and a few of these fit everywhere.
READ_SIZE = 4 * 1024 * 1024

_CHECK_SIZE = 32

#: Takes bytes of the pack, and where they begin; the ranges follow one another without gaps.
OnBytes = Callable[[int, bytes], None]


def check_pack(
    store: ObjectStore,
    pack_id: bytes,
    *,
    on_bytes: OnBytes,
    cancelled: Callable[[], bool],
) -> None:
    """Reads all bytes of the pack and holds them against its check.

    Needs the store alone: no key, no catalog.  Raises `MissingPack`, `CorruptObject` (after all
    bytes were read, if only the check is wrong), and `OperationCancelled`.
    """
    key = pack_key(pack_id)
    load_footer(store, pack_id)
    hasher, head, last = blake3(), b"", b""
    try:
        size_bytes = store.size(key)
        checked_bytes = size_bytes - _CHECK_SIZE
        for offset in range(0, size_bytes, READ_SIZE):
            if cancelled():
                raise OperationCancelled("the verification")
            data = store.get(key, offset=offset, size=min(READ_SIZE, size_bytes - offset))
            head = head or data[: len(HEADER_MAGIC) + len(pack_id)]
            hasher.update(data[: max(checked_bytes - offset, 0)])
            last = (last + data)[-_CHECK_SIZE:]
            on_bytes(offset, data)
    except ObjectNotFound as error:
        raise MissingPack(pack_id.hex()) from error
    if head != HEADER_MAGIC + pack_id:
        raise CorruptObject(key, f"the header of pack {pack_id.hex()}", "another")
    if hasher.digest() != last:
        raise CorruptObject(key, "the bytes that its check is of", "others")


class FrameCheck:
    """Decodes the frames of a pack, and checks their digests, as its bytes go by."""

    def __init__(self, packs: PackReader, pack_id: bytes, footer: Footer) -> None:
        #: What is wrong, by slot.
        self.damaged: dict[int, Corrupt] = {}
        self._packs = packs
        self._pack_id = pack_id
        self._footer = footer
        self._next = 0
        self._begin = HEADER_SIZE
        self._data = b""

    def take(self, offset: int, data: bytes) -> None:
        """The next bytes of the pack; at most one frame of them is kept."""
        if not offset:
            data = data[HEADER_SIZE:]
        self._data += data
        view, end, footer = memoryview(self._data), self._begin + len(self._data), self._footer
        while self._next < len(footer.slots):
            if int(footer.offsets[self._next] + footer.sizes[self._next]) > end:
                break
            self._check(int(footer.slots[self._next]), (view, self._begin))
            self._next += 1
        kept = int(footer.offsets[self._next]) if self._next < len(footer.slots) else end
        self._data = self._data[kept - self._begin :]
        self._begin = kept

    def finish(self) -> None:
        """No more bytes come: frames that did not go by are read one by one."""
        for slot in self._footer.slots[self._next :].tolist():
            self._check(slot, None)

    def _check(self, slot: int, read: tuple[memoryview, int] | None) -> None:
        try:
            self._packs.check_frame(self._footer, Address(self._pack_id, slot), read)
        except Corrupt as error:
            self.damaged[slot] = error

"""Values and codec of manifests.  Pure; see docs/design/repository-format.md, "Manifest"."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from csbs.domain.extents import block_count
from csbs.repository import text_object
from csbs.repository.errors import CorruptObject, RepositoryTooNew
from csbs.repository.manifest_seal import ManifestSeal
from csbs.repository.node import Address, root_level

FORMAT = 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One disk's bytes at one instant.

    `root` is None where every block is a hole; `root_digest` is empty then.  `nonzero_blocks` are
    all stored blocks, `changed_blocks` those whose address differs from the parent's.
    """

    id: str
    size_bytes: int
    level: int
    root: Address | None
    root_digest: bytes
    nonzero_blocks: int
    changed_blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One committed backup; `facts` is what the product keeps in it, as JSON."""

    key: str
    backup_id: str
    owner: int
    created_at: datetime
    stored_bytes: int
    images: tuple[Image, ...]
    facts: Mapping[str, Any]

    def image(self, image_id: str) -> Image | None:
        """The image of this disk; None if the backup has none."""
        return next((each for each in self.images if each.id == image_id), None)


@dataclass(frozen=True, slots=True)
class ManifestKeys:
    """What manifests of one repository are bound to; in an encrypted one `seal` hides facts."""

    repository_id: str
    mac_key: bytes = field(repr=False)
    seal: ManifestSeal | None = None


def encode_manifest(manifest: Manifest, keys: ManifestKeys) -> bytes:
    """The object's bytes; equal manifests give equal bytes."""
    fields = {
        "format": FORMAT,
        "repository_id": keys.repository_id,
        "backup_id": manifest.backup_id,
        "owner": manifest.owner,
        "created_at": time_text(manifest.created_at),
        "stored_bytes": manifest.stored_bytes,
        "images": [_image_fields(image) for image in manifest.images],
        **_encoded_facts(manifest, keys),
    }
    return text_object.encode(text_object.MANIFEST_MAGIC, fields, key=keys.mac_key)


def decode_manifest(key: str, data: bytes, keys: ManifestKeys) -> Manifest:
    """The manifest in `data`, which was found under `key`.

    Raises `CorruptObject` if it is none of this repository or of this key, and `RepositoryTooNew`
    if its format is above ours.
    """
    fields = text_object.decode(key, text_object.MANIFEST_MAGIC, data, key=keys.mac_key)
    manifest, repository_id = parsed(key, fields, lambda f: _from_fields(key, f, keys))
    if repository_id != keys.repository_id:
        raise CorruptObject(key, f"repository {keys.repository_id}", f"repository {repository_id}")
    name = f"{manifest.owner:08d}-{manifest.backup_id}"
    if key.rpartition("/")[2] != name:
        raise CorruptObject(key, "the manifest of its key", f"that of {name}")
    return manifest


def parsed(key: str, fields: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], T]) -> T:
    """`parse(fields)`, with whatever is wrong in them as `CorruptObject`."""
    try:
        return parse(fields)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptObject(key, "its fields", f"{type(error).__name__}: {error}") from error


def require_format(name: str, number: object) -> None:
    """Raises `RepositoryTooNew` for a format above ours, ValueError for what is no format."""
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"format {number!r}")
    if number > FORMAT:
        raise RepositoryTooNew(name, number, FORMAT)


def time_text(instant: datetime) -> str:
    """RFC 3339 in UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _image_fields(image: Image) -> dict[str, Any]:
    root = image.root
    return {
        "id": image.id,
        "size_bytes": image.size_bytes,
        "level": image.level,
        "root": None if root is None else {"pack": root.pack_id.hex(), "slot": root.slot},
        "root_digest": image.root_digest.hex(),
        "nonzero_blocks": image.nonzero_blocks,
        "changed_blocks": image.changed_blocks,
    }


def _encoded_facts(manifest: Manifest, keys: ManifestKeys) -> dict[str, Any]:
    facts = dict(manifest.facts)
    if keys.seal is None:
        return {"facts": facts}
    associated = _sealed_for(keys, manifest.owner, manifest.backup_id)
    sealed = keys.seal.seal(text_object.json_bytes(facts), associated)
    return {"sealed": base64.b64encode(sealed).decode()}


def _facts_from(key: str, fields: Mapping[str, Any], keys: ManifestKeys) -> dict[str, Any]:
    if keys.seal is None:
        return dict(fields["facts"])
    associated = _sealed_for(keys, int(fields["owner"]), str(fields["backup_id"]))
    plain = keys.seal.open(base64.b64decode(fields["sealed"], validate=True), associated)
    if plain is None:
        raise CorruptObject(key, "the facts that were sealed for it", "others")
    return dict(json.loads(plain))


def _sealed_for(keys: ManifestKeys, owner: int, backup_id: str) -> bytes:
    magic = text_object.MANIFEST_MAGIC.decode()
    return f"{magic} {keys.repository_id} {owner:08d}-{backup_id}".encode()


def _from_fields(key: str, fields: Mapping[str, Any], keys: ManifestKeys) -> tuple[Manifest, str]:
    require_format(key, fields["format"])
    manifest = Manifest(
        key=key,
        backup_id=str(fields["backup_id"]),
        owner=int(fields["owner"]),
        created_at=datetime.fromisoformat(fields["created_at"]).astimezone(UTC),
        stored_bytes=int(fields["stored_bytes"]),
        images=tuple(_image_from(each) for each in fields["images"]),
        facts=_facts_from(key, fields, keys),
    )
    return manifest, str(fields["repository_id"])


def _image_from(fields: Mapping[str, Any]) -> Image:
    root = fields["root"]
    image = Image(
        id=str(fields["id"]),
        size_bytes=int(fields["size_bytes"]),
        level=int(fields["level"]),
        root=None if root is None else Address(_pack_id(root["pack"]), int(root["slot"])),
        root_digest=bytes.fromhex(fields["root_digest"]),
        nonzero_blocks=int(fields["nonzero_blocks"]),
        changed_blocks=int(fields["changed_blocks"]),
    )
    if image.size_bytes < 0 or image.level != root_level(block_count(image.size_bytes)):
        raise ValueError(f"level {image.level} for {image.size_bytes} bytes")
    return image


def _pack_id(text: str) -> bytes:
    pack_id = bytes.fromhex(text)
    if len(pack_id) != 16:  # noqa: PLR2004  the format's size of a pack id
        raise ValueError(f"pack {text!r}")
    return pack_id

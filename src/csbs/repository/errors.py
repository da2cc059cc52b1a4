"""Errors of the storage engine."""

from __future__ import annotations

from dataclasses import dataclass

from csbs.domain.errors import (
    Conflict,
    Corrupt,
    Denied,
    Invalid,
    NotFound,
    Refused,
    Unavailable,
)


@dataclass(eq=False)
class ObjectNotFound(NotFound):
    """No object has this key.  Final: trying again does not help."""

    key: str

    template = "the store has no object {0.key}"


@dataclass(eq=False)
class ObjectExists(Conflict):
    """Another object has this key.  Final."""

    key: str

    template = "the store already has another object {0.key}"


@dataclass(eq=False)
class InvalidKey(Invalid):
    """Not a key that this store takes."""

    key: str

    template = "{0.key!r} is no object key"


@dataclass(eq=False)
class StoreUnavailable(Unavailable):
    """The store did not answer, or failed.  May be tried again."""

    key: str
    why: str

    template = "the store failed at {0.key}: {0.why}"


@dataclass(eq=False)
class StoreTimeout(Unavailable):
    """A call to the store had no answer within its limit; it may still be carried out."""

    store: str
    call: str
    key: str
    timeout_s: float

    template = (
        "the store {0.store} did not answer within {0.timeout_s:g} s ({0.call} {0.key}): "
        "does its file system or network hang?"
    )


@dataclass(eq=False)
class StoreFull(Unavailable):
    """Writing would use space that is kept free, or there is none left."""

    store: str
    free_bytes: int
    needed_bytes: int

    template = (
        "the store {0.store} is full: {0.free_bytes} bytes are free, {0.needed_bytes} must be; "
        "delete backups and run `csbs repository collect`, or give it more space"
    )


@dataclass(eq=False)
class StoreDenied(Denied):
    """This user may not write to the store."""

    store: str
    why: str

    template = "no right to use the store {0.store}: {0.why}"


@dataclass(eq=False)
class StoreMissing(Unavailable):
    """There is no such bucket, or what was there is gone.  Final: trying again does not help."""

    store: str
    why: str

    template = "the store {0.store} is not there: {0.why}"


@dataclass(eq=False)
class StoreUnsuitable(Refused):
    """The store is not one that backups can be trusted to.  Final."""

    store: str
    why: str

    template = "the store {0.store} cannot be used: {0.why}"


@dataclass(eq=False)
class CorruptObject(Corrupt):
    """An object is not what was written: what was expected, and what was found."""

    key: str
    expected: str
    found: str

    template = "object {0.key} is damaged: expected {0.expected}, found {0.found}"


@dataclass(eq=False)
class MissingPack(Corrupt):
    """A pack that committed backups name is gone from the store."""

    pack: str

    template = (
        "pack {0.pack}, which earlier backups name, is gone from the store; "
        "`csbs backup create --full` stores its blocks anew"
    )


@dataclass(eq=False)
class RepositoryNotFound(NotFound):
    """There is no repository under this prefix."""

    repository: str

    template = (
        "there is no repository at {0.repository}; is store_url right? "
        "(`csbs repository init` makes one)"
    )


@dataclass(eq=False)
class RepositoryTooNew(Refused):
    """Written by a newer csbs."""

    repository: str
    format: int
    known: int

    template = (
        "the repository at {0.repository} has format {0.format}; this csbs knows formats up to "
        "{0.known}: install a newer csbs. Nothing was changed"
    )


@dataclass(eq=False)
class RepositoryOwned(Refused):
    """Another catalog writes to this repository."""

    repository: str
    owner: str

    template = (
        "the repository at {0.repository} belongs to another data folder (catalog {0.owner}): "
        "this one may only read it. Use that data folder, or another store; if that one is lost, "
        "`csbs repository rebuild-catalog --take-over` makes this one the owner"
    )


@dataclass(eq=False)
class OtherConfig(Refused):
    """No backup can be read, since the config in the store is not that of its backups."""

    repository: str
    key: str
    stated_id: str

    template = (
        "the config of the repository at {0.repository} is of another one than its backups: "
        "{0.key} says it is of repository {0.stated_id}. Put the right config back; nothing was "
        "deleted"
    )


@dataclass(eq=False)
class RepositoryLocked(Conflict):
    """The repository's lock is held."""

    repository: str
    doing: str

    template = "the repository at {0.repository} is in use: {0.doing}; try again when it has ended"


@dataclass(eq=False)
class BackupMissing(NotFound):
    """The repository has no such backup, or it was deleted."""

    backup: str

    template = "the repository has no backup {0.backup}"


@dataclass(eq=False)
class BackupFenced(Refused):
    """The backup was given up while it was written: it can no longer be committed."""

    backup: str

    template = "backup {0.backup} was given up by another process and cannot be committed"


@dataclass(eq=False)
class BlockDamaged(Corrupt):
    """A block that a repair or restore had to give up: the map says so."""

    image: str
    block: int

    template = "block {0.block} of the image of disk {0.image} is marked as damaged"


@dataclass(eq=False)
class KeyMissing(Unavailable):
    """The repository is encrypted, and the key that opens it is not there."""

    repository: str
    key_id: str
    file: str

    template = (
        "the repository at {0.repository} is encrypted and needs region key {0.key_id}, but there "
        "is no key in {0.file}: put the file back, or set region_key_file; with the recovery key "
        "set recovery_key_file. Nothing was changed"
    )


@dataclass(eq=False)
class WrongKey(Denied):
    """The repository is encrypted, and the key that was given is another one."""

    repository: str
    which: str
    key_id: str
    file: str

    template = (
        "the repository at {0.repository} is encrypted with {0.which} key {0.key_id}, and "
        "{0.file} has another one: name the right file by {0.which}_key_file "
        "(`csbs repository keys` shows which keys open it). Nothing was changed"
    )


@dataclass(eq=False)
class KeyFileUnusable(Unavailable):
    """A file of keys cannot be read, written, or has no keys in it."""

    file: str
    why: str

    template = "the key file {0.file} cannot be used: {0.why}"


@dataclass(eq=False)
class RepositoryNotEncrypted(Refused):
    """A plain repository, where an encrypted one is wanted."""

    repository: str

    template = (
        "the repository at {0.repository} is not encrypted, and stays so. Use a new store, or set "
        "encryption to off to go on with this one"
    )


@dataclass(eq=False)
class KeyRingChanged(Conflict):
    """Another process changed the key ring in this moment."""

    repository: str

    template = "another process changes the keys of the repository at {0.repository}; try again"

"""Which new repositories are encrypted."""

from __future__ import annotations

from enum import StrEnum


class EncryptionMode(StrEnum):
    """What the operator wants; `AUTO` leaves it to where the store is."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


def encryption_wanted(mode: EncryptionMode, store_url: str) -> bool:
    """Whether a new repository in this store is encrypted.

    `AUTO`: unless it is a folder, which has an operator in common with the disks.  An empty
    address is the folder in the data folder.
    """
    if mode is EncryptionMode.AUTO:
        return bool(store_url) and not store_url.startswith("file:")
    return mode is EncryptionMode.ON

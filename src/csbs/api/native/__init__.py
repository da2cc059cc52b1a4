"""Our own API, in our own words: what the protocols of others have no place for."""

from csbs.api.native.room import ROOM

__all__ = ["ROOM"]

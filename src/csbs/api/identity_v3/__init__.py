"""As much of Keystone's API, version 3, as clients of that cloud use."""

from csbs.api.identity_v3 import versions
from csbs.api.identity_v3.room import ROOM

__all__ = ["ROOM", "versions"]

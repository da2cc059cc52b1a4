"""CSBS v1, the wire protocol of that cloud's server backup service."""

from csbs.api.csbs_v1.room import ROOM

__all__ = ["ROOM"]

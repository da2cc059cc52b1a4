"""A room: one protocol, with its paths and its way to refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import Response

from csbs.domain.errors import CsbsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Calls below one prefix."""

    #: `/v1`; paths of the router begin with it.
    prefix: str
    router: APIRouter
    #: Every error of a call below the prefix becomes a response here, and nowhere else.
    refuse: Callable[[CsbsError], Response]

    def has(self, path: str) -> bool:
        """Whether the path lies in this room."""
        return path == self.prefix or path.startswith(f"{self.prefix}/")


def room_of(rooms: Sequence[Room], path: str) -> Room:
    """The room of a path; the last one takes what lies in none."""
    return next((room for room in rooms if room.has(path)), rooms[-1])

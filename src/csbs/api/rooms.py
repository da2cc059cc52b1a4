"""A room: one protocol, with its paths and its way to refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fastapi import APIRouter
from starlette.responses import Response

from csbs.domain.errors import CsbsError


class Refuse(Protocol):
    """Makes the response to an error."""

    def __call__(self, error: CsbsError, *, operator: bool = False) -> Response:
        """`operator`: who asks may read what parts of the host said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Calls below one prefix."""

    #: `/v1`; paths of the router begin with it.
    prefix: str
    router: APIRouter
    #: Every error of a call below the prefix becomes a response here, and nowhere else.
    refuse: Refuse

    def has(self, path: str) -> bool:
        """Whether the path lies in this room."""
        return path == self.prefix or path.startswith(f"{self.prefix}/")


def room_of(rooms: Sequence[Room], path: str) -> Room:
    """The room of a path; the last one takes what lies in none."""
    return next((room for room in rooms if room.has(path)), rooms[-1])

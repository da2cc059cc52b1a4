"""What all documents share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

#: What nobody needs more of.
Text = Annotated[str, Field(max_length=255)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


def whole(value: object) -> object:
    """In JSON 7.0 is a whole number too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: Bytes a second; None: what the settings of the service say.
RateLimit = Annotated[StrictInt, Field(ge=1, le=2**53 - 1), BeforeValidator(whole)]


class Body(BaseModel):
    """What a caller sends: nothing unknown in it."""

    model_config = ConfigDict(extra="forbid")


class Document(BaseModel):
    """What a caller gets; one of a newer service may have more in it."""

    model_config = ConfigDict(from_attributes=True, extra="ignore")

    def json_value(self) -> dict[str, Any]:
        """What machines read."""
        return self.model_dump(mode="json")


class Page(Document):
    """A part of a list."""

    #: What to ask for as `after` to get the next page; null on the last one.
    next: str | None = None


class Reference(Document):
    """Something by its id, and its name for people."""

    id: str
    name: str


class Fault(Document):
    """Why a call was refused, or a task failed."""

    kind: str
    object: str = ""
    message: str


class Refusal(Document):
    """The body of every answer from 400 on."""

    error: Fault


class Deleted(Document):
    """How many went."""

    deleted: int


class DeletedObject(Document):
    """What went, by its id."""

    deleted: str
    name: str


class Range(Document):
    """A part of a disk."""

    offset_bytes: int
    size_bytes: int


def ranges_of(pairs: Iterable[tuple[int, int]]) -> list[Range]:
    """Ranges that are given as offset and size."""
    return [Range(offset_bytes=offset, size_bytes=size) for offset, size in pairs]

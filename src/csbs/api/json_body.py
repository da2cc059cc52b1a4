"""The body of a request: bytes in, a JSON object or a checked model out.

Whatever is wrong is one `RequestInvalid` with the place and one short reason; what the client sent
is never quoted.  Keys that nobody knows are ignored: clients send more than was ever documented.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from csbs.api.errors import RequestInvalid
from csbs.documents.reasons import reason

#: Numbers with more digits are no number of ours, and slow to parse.
_DIGITS_MAX = 40

#: No name of anything has these, and databases do not take them.
_UNKEEPABLE = re.compile("[\0\ud800-\udfff]")
#: How they come: raw NULs are no JSON, nor are surrogates in UTF-8.
_SUSPECT = re.compile(rb"\\u(0000|[dD][89a-fA-F])")

M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    """Base of all bodies and their parts: right types, and no guessing."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


def read_json(data: bytes) -> dict[str, Any]:
    """The JSON object.  Raises `RequestInvalid`."""
    try:
        body = json.loads(data.decode(), parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError):
        raise RequestInvalid("body", "it must be JSON") from None
    if not isinstance(body, dict):
        raise RequestInvalid("body", "it must be a JSON object")
    require_keepable(data)
    return body


def require_keepable(data: bytes) -> None:
    """Raises `RequestInvalid` for JSON with a text that no database takes, whoever reads it later.

    What is no JSON passes: its reader says so.
    """
    if _SUSPECT.search(data) is None:
        return
    try:
        body = json.loads(data.decode(), parse_int=_integer)
    except (ValueError, RecursionError):
        return
    if not all(is_keepable(text) for text in _texts(body)):
        raise RequestInvalid("body", "a text has a character that cannot be kept")


def is_keepable(text: str) -> bool:
    """Whether a database takes the text: no NUL, and no half of a pair of surrogates."""
    return _UNKEEPABLE.search(text) is None


def read_body(model: type[M], data: bytes) -> M:
    """The checked body.  Raises `RequestInvalid`."""
    try:
        return model.model_validate(read_json(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise RequestInvalid(place[:128], reason(first)) from None


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("NaN and infinities are no JSON")


def _integer(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise ValueError("too many digits")
    return int(text)


def _texts(value: object) -> Iterator[str]:
    """All texts in it, keys too; without recursion, whatever its depth."""
    rest = [value]
    while rest:
        each = rest.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            rest.extend(each.keys())
            rest.extend(each.values())
        elif isinstance(each, list):
            rest.extend(each)

"""Texts that every database takes, and every encoding."""

from __future__ import annotations

import re
from dataclasses import dataclass

from csbs.domain.errors import Invalid

#: The character of code 0, and halves of pairs of UTF-16, which are no characters.
_UNUSABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(eq=False)
class TextUnusable(Invalid):
    """A text has a character that cannot be kept."""

    size: int

    template = "a text of {0.size} characters has one that cannot be used"


def usable(text: str) -> str:
    """The text.  Raises `TextUnusable`."""
    if _UNUSABLE.search(text):
        raise TextUnusable(len(text))
    return text


def made_usable(text: str) -> str:
    """The text with a sign in the place of each such character, for what must be kept somehow."""
    return _UNUSABLE.sub("\ufffd", text)

"""Tags of backups and policies: a key and a value that their owner chooses, to find them again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from csbs.domain.errors import Invalid, NotFound, Refused

TAGS_MAX = 10
KEY_SIZE_MAX = 36
VALUE_SIZE_MAX = 43
#: A tag that is to be deleted may be longer than one that csbs takes: then it is absent.
DELETED_KEY_SIZE_MAX = 127
DELETED_VALUE_SIZE_MAX = 255
#: Of a filter: so many keys, with so many values each.
FILTER_KEYS_MAX = 10
FILTER_VALUES_MAX = 10
#: A value of a filter that begins so means a part of a tag's value.
PART_OF_VALUE = "*"

#: Letters of any script, digits, `_` and `-`.
_CHARACTERS = re.compile(r"[\w-]*")


@dataclass(eq=False)
class InvalidTag(Invalid):
    """Not a tag that csbs takes."""

    key: str
    why: str

    template = "tag {0.key!r}: {0.why}"


@dataclass(eq=False)
class TooManyTags(Refused):
    """An object has as many tags as it may have."""

    subject: str
    tags_max: int

    template = "{0.subject} would have more than {0.tags_max} tags"


@dataclass(eq=False)
class TagNotFound(NotFound):
    """The object has no tag with this key."""

    key: str
    subject: str

    template = "{0.subject} has no tag {0.key!r}"


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """One tag; an object has a key at most once."""

    key: str
    value: str = ""


def checked_tag(key: str, value: str) -> Tag:
    """The tag, without blanks around.  Raises `InvalidTag`."""
    tag = Tag(key.strip(), value.strip())
    if not 1 <= len(tag.key) <= KEY_SIZE_MAX:
        raise InvalidTag(tag.key, f"its key must have 1 to {KEY_SIZE_MAX} characters")
    if len(tag.value) > VALUE_SIZE_MAX:
        raise InvalidTag(tag.key, f"its value may have {VALUE_SIZE_MAX} characters")
    if not _CHARACTERS.fullmatch(tag.key) or not _CHARACTERS.fullmatch(tag.value):
        raise InvalidTag(tag.key, "use letters, digits, _ and -")
    return tag


def checked_tags(pairs: Iterable[tuple[str, str]]) -> tuple[Tag, ...]:
    """Tags that are given together.  Raises `InvalidTag`, also for a key that comes twice."""
    tags = tuple(checked_tag(key, value) for key, value in pairs)
    keys = [tag.key for tag in tags]
    for key in keys:
        if keys.count(key) > 1:
            raise InvalidTag(key, "a key comes twice")
    return tags


def tag_to_delete(key: str, value: str) -> Tag:
    """A tag of a batch of deletions; what no object can have is simply absent."""
    tag = Tag(key.strip(), value.strip())
    if not 1 <= len(tag.key) <= DELETED_KEY_SIZE_MAX:
        raise InvalidTag(tag.key, f"its key must have 1 to {DELETED_KEY_SIZE_MAX} characters")
    if len(tag.value) > DELETED_VALUE_SIZE_MAX:
        raise InvalidTag(tag.key, f"its value may have {DELETED_VALUE_SIZE_MAX} characters")
    return tag


def with_tags(subject: str, present: Collection[Tag], new: Collection[Tag]) -> tuple[Tag, ...]:
    """All tags of `subject` with the new ones, which win.  Raises `TooManyTags`."""
    merged = {tag.key: tag for tag in (*present, *new)}
    if len(merged) > TAGS_MAX:
        raise TooManyTags(subject, TAGS_MAX)
    return tuple(sorted(merged.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFilter:
    """Which objects are meant.  Each mapping has the values that count for a key; none: any."""

    #: Has all of these keys.
    tags: Mapping[str, Sequence[str]]
    #: Has one of these keys.
    tags_any: Mapping[str, Sequence[str]]
    #: Has not all of these keys.
    not_tags: Mapping[str, Sequence[str]]
    #: Has none of these keys.
    not_tags_any: Mapping[str, Sequence[str]]
    #: A part of its name.
    name_part: str = ""

    def matches(self, name: str, tags: Collection[Tag]) -> bool:
        """Whether an object with this name and these tags is meant."""
        present = {tag.key: tag.value for tag in tags}

        def has(wanted: Mapping[str, Sequence[str]]) -> list[bool]:
            return [_has(present, key, values) for key, values in wanted.items()]

        return (
            self.name_part in name
            and all(has(self.tags))
            and (not self.tags_any or any(has(self.tags_any)))
            and not (self.not_tags and all(has(self.not_tags)))
            and not any(has(self.not_tags_any))
        )


def _has(present: Mapping[str, str], key: str, values: Sequence[str]) -> bool:
    value = present.get(key)
    if value is None:
        return False
    return not values or any(_is_like(value, wanted) for wanted in values)


def _is_like(value: str, wanted: str) -> bool:
    if wanted.startswith(PART_OF_VALUE):
        return wanted.removeprefix(PART_OF_VALUE) in value
    return value == wanted


def values_by_key(tags: Iterable[Tag]) -> dict[str, list[str]]:
    """All values of each key, without repetition, in order."""
    found: dict[str, set[str]] = {}
    for tag in tags:
        found.setdefault(tag.key, set()).add(tag.value)
    return {key: sorted(values) for key, values in sorted(found.items())}

"""Texts that have a pattern, as the schema tells it and as it is held."""

from __future__ import annotations

import re
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from csbs.documents.reasons import Written

PATTERN = r"[\w-]{1,8}"
NAME = TypeAdapter(Annotated[str, Written(PATTERN, "use letters")])


@pytest.mark.parametrize("text", ["web-1", "备份", "x" * 8])
def test_what_is_written_so_is_taken(text: str) -> None:
    assert NAME.validate_python(text) == text
    assert NAME.json_schema()["pattern"] == f"^{PATTERN}$"


@pytest.mark.parametrize("text", ["", "a b", "a\n", "x" * 9, "¾"])
def test_what_is_written_otherwise_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ValidationError, match="use letters"):
        NAME.validate_python(text)


def test_a_fraction_is_a_letter_to_python_and_to_no_reader_of_the_schema() -> None:
    assert re.fullmatch(PATTERN, "¾") is not None

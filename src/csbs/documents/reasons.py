"""Why a value that a caller sent is none: one sentence that names what would do.

pydantic's own sentences speak of its validators, and of regular expressions; people are told what
to write.  Texts that must be written in a certain way carry their reason with them (`Written`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, SchemaValidator, core_schema

#: By the types of pydantic's errors; what is in braces is in the error's context.
_REASONS = {
    "missing": "it is required",
    "extra_forbidden": "there is no such field",
    "model_type": "it must be an object",
    "model_attributes_type": "it must be an object",
    "dict_type": "it must be an object",
    "list_type": "it must be a list",
    "string_type": "it must be a text",
    "bool_type": "it must be true or false",
    "int_type": "it must be a whole number",
    "too_long": "at most {max_length} are allowed",
    "too_short": "at least {min_length} is needed",
    "string_too_long": "it may have {max_length} characters",
    "string_too_short": "it must have at least {min_length} character",
    "greater_than_equal": "use a number from {ge} on",
    "less_than_equal": "use a number up to {le}",
    "literal_error": "use {expected}",
    "enum": "use {expected}",
}


def reason(problem: Mapping[str, Any]) -> str:
    """The reason of one of the errors of a `ValidationError`."""
    known = _REASONS.get(problem["type"])
    if known is not None:
        return known.format_map(problem.get("ctx") or {})
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


@dataclass(frozen=True, slots=True)
class Written:
    """Of a text that the pattern describes as a whole; `how` is told to who writes it otherwise."""

    pattern: str
    how: str

    def __get_pydantic_core_schema__(
        self, source: type[str], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Holds the pattern."""
        # By the engine of whoever reads the schema: to Python's, more characters are letters.
        written = SchemaValidator(core_schema.str_schema(pattern=f"^(?:{self.pattern})$"))

        def checked(text: str) -> str:
            if not written.isinstance_python(text):
                raise ValueError(self.how)
            return text

        return core_schema.no_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Tells the pattern to readers of the API."""
        return {**handler(schema), "pattern": f"^{self.pattern}$"}

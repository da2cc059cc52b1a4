"""Exit codes of the command line, by the kind of the error (docs/reference/errors.md)."""

from __future__ import annotations

DONE = 0
UNEXPECTED = 1
USAGE = 2

EXIT_CODES: dict[str, int] = {
    "unexpected": UNEXPECTED,
    "invalid": USAGE,
    "not_found": 3,
    "busy": 4,
    "refused": 5,
    "denied": 6,
    "unavailable": 7,
    "damaged": 8,
    "cancelled": 130,
}

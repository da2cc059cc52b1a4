"""Which refusals a call documents."""

from __future__ import annotations

from typing import Any

from csbs.documents.base import Refusal

_MEANINGS = {
    400: "The request makes no sense as it stands.",
    401: "Nobody proved who he is.",
    403: "The caller lacks the role.",
    404: "What was named does not exist, or is another project's.",
    409: "Not in the present state; the sentence says why.",
    413: "The body is too large.",
    503: "A part does not answer, or has no room: try again.",
}

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": meaning} for status, meaning in _MEANINGS.items()
}

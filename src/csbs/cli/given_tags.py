"""Tags as they are written on the command line."""

from __future__ import annotations

from collections.abc import Sequence

import typer


def given_tags(texts: Sequence[str]) -> dict[str, str]:
    """What `KEY=VALUE ...` says.  Raises `typer.BadParameter` for what is written otherwise."""
    tags: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{text[:64]!r} is no tag: write it as KEY=VALUE")
        if key in tags:
            raise typer.BadParameter(f"the tag {key[:64]!r} is given twice")
        tags[key] = value
    return tags

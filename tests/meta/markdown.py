"""As much of Markdown as the tests of our documents need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
_SHELL = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    """The page without its blocks of code."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def headings(page: Path) -> list[str]:
    """All headings, as they are written."""
    return _HEADING.findall(text_of(page))


def anchors(page: Path) -> set[str]:
    """What a link may name behind `#`."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings(page)}


def links(page: Path) -> list[str]:
    """Targets of all links."""
    return _LINK.findall(text_of(page))


def shell_lines(page: Path) -> Iterator[str]:
    """Commands that the page tells a reader to type, continued lines joined, prompts cut."""
    for block in _SHELL.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.removeprefix("# ").removeprefix("$ ").strip()


def table(page: Path, *, under: str) -> list[list[str]]:
    """Rows of the first table below a heading, its head first, without the line of dashes."""
    text = page.read_text(encoding="utf-8")
    section = re.split(rf"^#+ +{re.escape(under)} *$", text, flags=re.MULTILINE)[1]
    rows = re.findall(r"(?:^\|.*\|\n)+", section, flags=re.MULTILINE)[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return [cells[0], *cells[2:]]

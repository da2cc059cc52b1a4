"""The files of this project, as the meta tests look at them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Folders with our Python.
PYTHON_FOLDERS = ("src", "tests", "demo", "benchmarks", "tools")

#: Made by tools, not written by us.
_FOREIGN = {
    ".clients",
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".tools",
    ".venv",
    "__pycache__",
    "dist",
}
_TEXT = {"", ".cfg", ".ini", ".lock", ".in", ".mako", ".md", ".py", ".pyi", ".sh", ".toml", ".txt"}


def files() -> Iterator[Path]:
    """All text files of the project."""
    waiting = [ROOT]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            if path.name in _FOREIGN:
                continue
            if path.is_dir():
                waiting.append(path)
            elif path.suffix in _TEXT:
                yield path


def python_files(*folders: str) -> list[Path]:
    """Our Python files, in these folders or in all."""
    chosen = [ROOT / folder for folder in folders or PYTHON_FOLDERS]
    return [
        path
        for path in files()
        if path.suffix == ".py" and any(path.is_relative_to(folder) for folder in chosen)
    ]


def pages() -> list[Path]:
    """All Markdown files."""
    return [path for path in files() if path.suffix == ".md"]


def name_of(path: Path) -> str:
    """Path below the project's root."""
    return str(path.relative_to(ROOT))

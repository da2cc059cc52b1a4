"""The library's documented example, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "use-the-engine-as-a-library.md"

#: None of these is needed to store and read an image.
FOREIGN = ("csbs.catalog", "csbs.compute", "csbs.blockio", "sqlalchemy", "libvirt", "nbd", "http")
LOADED = f"\nimport sys\nprint([name for name in {FOREIGN!r} if name in sys.modules])\n"


def _example() -> str:
    [found] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def test_the_example_stores_and_reads_with_nothing_but_the_library(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _example() + LOADED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()

    assert done.stderr == ""
    # Manifests come in the order of their keys, which are random.
    assert {line.split(" ", 1)[1] for line in lines[:2]} == {
        r"b'\x00\x00\x00\x00'",
        r"b'\x00\x00xx'",
    }
    assert lines[2:] == ["False", "[]"]


def test_the_example_is_short() -> None:
    assert len([line for line in _example().splitlines() if line.strip()]) <= 24

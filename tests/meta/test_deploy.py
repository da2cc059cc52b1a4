"""The unit for systemd is one, and leaves alive what must outlive csbs."""

from __future__ import annotations

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy" / "csbs.service"


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/usr/local/bin/csbs", sys.executable))

    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    # Others of this machine are looked at too; what is said of ours names it.
    assert [line for line in said.stderr.splitlines() if "csbs" in line] == []
    assert said.returncode == 0


def test_guards_and_locked_images_outlive_the_service() -> None:
    unit = ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as the documents say
    unit.read(UNIT, encoding="utf-8")

    service = unit["Service"]
    assert (service["KillMode"], service["OOMPolicy"]) == ("process", "continue")
    assert "RuntimeDirectory" not in service

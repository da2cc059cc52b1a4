"""The `csbs` command, as a user would type it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csbs.domain.errors import ToolFailed

#: A restore of the whole server without KVM beside it takes less than a minute.
_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class CsbsCommand:
    """Runs `csbs` on one data folder; run and scratch folders lie beside it."""

    data_dir: Path
    run_dir: Path
    scratch_dir: Path
    #: The command and what stands before its arguments.
    program: tuple[str, ...] = (str(Path(sys.executable).with_name("csbs")),)
    #: Further settings, such as ``CSBS_READERS=1``.
    settings: tuple[str, ...] = ()

    def __call__(self, *arguments: str) -> Any:
        """Runs one command with ``--json`` and returns its document.

        Raises `ToolFailed` with the command's own error.
        """
        settings = (
            f"CSBS_DATA_DIR={self.data_dir}",
            f"CSBS_RUN_DIR={self.run_dir}",
            f"CSBS_SCRATCH_DIR={self.scratch_dir}",
            *self.settings,
        )
        doing = " ".join(arguments)
        try:
            done = subprocess.run(
                ["env", *settings, *self.program, *arguments, "--json"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolFailed("csbs", doing, f"no end within {_TIMEOUT_S} s") from error
        if done.returncode != 0:
            raise ToolFailed("csbs", doing, f"exit {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

"""Foreign clients in environments of their own (`make clients`)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.meta.tree import ROOT

_SCRIPTS = Path(__file__).parent / "scripts"
_TIMEOUT_S = 180


def drive(client: str, job: Mapping[str, Any], **variables: str) -> dict[str, Any]:
    """Runs the client's script with this job, and returns what it found."""
    python = ROOT / ".clients" / client / "bin" / "python"
    assert python.exists(), "the clients are not installed: run `make clients`"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    finished = subprocess.run(
        [str(python), "-W", "ignore", str(_SCRIPTS / f"{client}.py")],
        input=json.dumps(job),
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    done: dict[str, Any] = json.loads(finished.stdout)
    return done

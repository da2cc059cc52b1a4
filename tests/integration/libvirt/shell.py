"""Typing commands into `csbs`, in this process or in one of its own, on real servers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from csbs.cli.main import run
from csbs.testing.libvirt_domains import DomainServer

PROGRAM = str(Path(sys.executable).with_name("csbs"))


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.err)["error"]
        return found


@dataclass(frozen=True)
class Shell:
    """Types commands into `csbs`, on a data folder of its own."""

    data_dir: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Result:
        self.capture.readouterr()
        code = run(["--data-dir", str(self.data_dir), *arguments])
        printed = self.capture.readouterr()
        return Result(code, printed.out, printed.err)

    def ok(self, *arguments: str) -> Any:
        """The document of a command that must succeed."""
        result = self(*arguments, "--json")
        assert result.code == 0, result.err
        return result.document


def typed(csbs: Shell, *arguments: str) -> subprocess.Popen[bytes]:
    """The same command as a process of its own, to be interrupted."""
    return subprocess.Popen(
        [PROGRAM, "--data-dir", str(csbs.data_dir), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def contents(server: DomainServer) -> dict[str, bytes]:
    """All bytes of a stopped server's disks."""
    return {target: server.content(target) for target in ("vda", "vdb", "vdc")}

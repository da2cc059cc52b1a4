"""The command line twice, over the same kind of data: on this machine, and on a live service."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from csbs.cli import main
from csbs.testing.fake_driver import FakeDriver, FakeServer
from csbs.testing.faults import Faults
from csbs.testing.live_api import ADMIN_PASSWORD, LiveApi, live_api

MIB = 1024**2

#: What differs from run to run, and what stands for it.
_MASKS = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
    (r"\b[0-9a-f]{32}\b", "<id>"),
    (r"\b[0-9a-f]{8}\b", "<short>"),
    (r"packs/[0-9a-f]{2}/", "packs/<xx>/"),
    (r"\bmanualbk_[0-9a-f]{4,8}\b", "<name>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "<time>"),
    (r'"duration_s": [\d.]+', '"duration_s": <s>'),
    (r'"(age|last_restore)_s": \d+', r'"\1_s": <s>'),
    (r"\s*\b\d+ s\b\s*", " <s> "),
    (r"\bwhsec_[\w+/=]+", "<secret>"),
    (r"\b[A-Z0-9]{20}\b", "<key>"),
    (r"\b[A-Za-z0-9]{40}\b", "<secret>"),
)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command showed, with all masked that differs from run to run."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Way:
    """One way to run commands, and what is behind it."""

    name: str
    folder: Path
    driver: FakeDriver
    options: list[str]
    capture: pytest.CaptureFixture[str] | None = None
    patch: pytest.MonkeyPatch | None = None
    masks: tuple[tuple[str, str], ...] = ()
    #: By name: those behind it.
    servers: dict[str, FakeServer] = field(default_factory=dict)

    def __call__(self, *arguments: str, typed: str = "") -> Ran:
        """Runs `csbs ARGUMENTS`; `typed` is its standard input."""
        code, out, err = self.raw(*arguments, typed=typed)
        return Ran(code, self.masked(out), self.masked(err))

    def raw(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        """Likewise, unmasked."""
        assert self.capture is not None
        assert self.patch is not None
        self.patch.setattr("sys.stdin", io.StringIO(typed))
        self.capture.readouterr()
        code = main.run([*self.options, *arguments], self.driver)
        captured = self.capture.readouterr()
        return code, captured.out, captured.err

    def json(self, *arguments: str, typed: str = "") -> Any:
        """The document that it prints."""
        code, out, err = self.raw(*arguments, "--json", typed=typed)
        assert code == 0, err
        return json.loads(out)

    def wait_for_tasks(self) -> None:
        """Until all have ended."""
        while {"waiting", "running"} & {
            each["state"] for each in self.json("task", "list")["tasks"]
        }:
            pass

    def masked(self, text: str) -> str:
        """See `_MASKS`."""
        for pattern, stands in (*self.masks, *_MASKS):
            text = re.sub(pattern, stands, text)
        return text

    @property
    def store(self) -> Path:
        """Where its backups are."""
        return next((self.folder / "data" / "store").iterdir())


@dataclass(frozen=True, slots=True)
class Ways:
    """Both of them."""

    here: Way
    there: Way
    api: LiveApi

    def both(self) -> tuple[Way, Way]:
        """To do the same to each."""
        return self.here, self.there


@contextmanager
def two_ways(
    folder: Path, capture: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch
) -> Iterator[Ways]:
    """Both, each with a server `web` of two disks and a server `db`."""
    patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    patch.setenv("CSBS_RUN_DIR", str(folder / "here" / "run"))
    patch.setenv("CSBS_SCRATCH_DIR", str(folder / "here" / "scratch"))
    here_folder, there_folder = folder / "here", folder / "there"
    here_folder.mkdir(parents=True)
    driver = FakeDriver(here_folder / "host", new_id=lambda: str(uuid4()), faults=Faults())
    here = Way(
        name="here",
        folder=here_folder,
        driver=driver,
        options=["--data-dir", str(here_folder / "data")],
    )
    with ExitStack() as running:
        running.callback(driver.close)
        api = running.enter_context(live_api(there_folder))
        there = Way(name="there", folder=there_folder, driver=api.driver, options=[])
        for way in (here, there):
            way.capture, way.patch = capture, patch
            way.masks = ((re.escape(str(way.folder)), "<folder>"),)
            for name, disks in (("web", {"vda": 4 * MIB, "vdb": 2 * MIB}), ("db", {"vda": MIB})):
                server = way.driver.add_server(name, disks)
                server.write("vda", offset=0, size=MIB // 2, pattern=7)
                way.servers[name] = server
        # A service has one from its first start.
        here("user", "create", "admin", "--admin", "--password-stdin", typed=ADMIN_PASSWORD)
        yield Ways(here, there, api)


def log_in(ways: Ways) -> None:
    """From then on commands of `there` work on the service."""
    code, _out, err = ways.there.raw("login", ways.api.url, typed=f"{ADMIN_PASSWORD}\n")
    assert code == 0, err

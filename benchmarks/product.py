"""The `csbs` command, as a user types it, measured."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.arithmetic import Sample
from benchmarks.running import folder_size, run_measured

_CSBS = str(Path(sys.executable).with_name("csbs"))
#: Kept for a full disk; no backup is in it.
_RESERVE = "_reserve"


class NotAsAsked(Exception):
    """A command did something else than what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """csbs with a data folder of its own, in `folder`.

    The store is there too, unless `settings` name another: then its size is not known.
    """

    folder: Path
    encrypted: bool = False
    #: More of its environment.
    settings: Mapping[str, str] = field(default_factory=dict)

    def make(self) -> None:
        """Makes data folder and repository, as `restic init` and `borg init` do for theirs."""
        self._run("repository", "collect")

    def start(self) -> Sample:
        """A command that does next to nothing: what each of them costs before it works."""
        return self._run("server", "list")[1]

    def start_server(self, server: str) -> None:
        """Starts a stopped server."""
        self._run("server", "start", server)

    def back_up(
        self, server: str, *options: str, mode: str, consistency: str = "crash"
    ) -> tuple[str, Sample]:
        """Backs up; its id, and what was measured.

        Raises `NotAsAsked` if a disk's mode, or the consistency, is another.
        """
        before_bytes = self.stored_bytes()
        document, sample = self._run(
            "backup", "create", server, "--consistency", consistency, *options
        )
        modes = {disk["mode"] for disk in document["disks"]}
        if modes != {mode} or document["consistency"]["reached"] != consistency:
            raise NotAsAsked(f"asked for {mode} and {consistency}, got {document}")
        added_bytes = self.stored_bytes() - before_bytes
        return document["id"], replace(sample, stored_bytes=added_bytes)

    def restore(self, backup_id: str) -> Sample:
        """Restores in place."""
        return self._run("restore", backup_id, "--yes", "--no-start")[1]

    def untrack(self, server: str) -> None:
        """Gives up all that is tracked: the next backup is a rescan."""
        self._run("server", "untrack", server)

    def stored_bytes(self) -> int:
        """All that lies in the store."""
        store = self.folder / "data" / "store"
        reserves = sum(path.stat().st_size for path in store.rglob(_RESERVE))
        return folder_size(store) - reserves

    def remove(self) -> None:
        """Removes its folder."""
        shutil.rmtree(self.folder)

    def _run(self, *arguments: str) -> tuple[Any, Sample]:
        self.folder.mkdir(parents=True, exist_ok=True)
        done = run_measured(
            [_CSBS, *arguments, "--json"],
            durable=self.folder,
            environment={
                "CSBS_DATA_DIR": str(self.folder / "data"),
                "CSBS_ENCRYPTION": "on" if self.encrypted else "off",
                "CSBS_RUN_DIR": "/run/csbs-bench",
                "CSBS_SCRATCH_DIR": str(self.folder / "scratch"),
                **self.settings,
            },
        )
        return json.loads(done.output), done.sample

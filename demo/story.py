"""The story: a running server is backed up, changed, wrecked and brought back, byte for byte."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from csbs.blockio.processes import run_tool
from csbs.domain.clock import new_id
from csbs.domain.errors import Corrupt
from csbs.testing.guest import GuestImage, GuestServer, Progress, Workload
from csbs.testing.libvirt_daemon import URI
from demo.command import CsbsCommand
from demo.place import HOME, PREFIX, command
from demo.report import Report

_BOOT_TIMEOUT_S = 240.0
_WRITE_TIMEOUT_S = 120.0
_TOOL_TIMEOUT_S = 300.0
_MORE = Progress(rows=200, files=4)
_MIB = 1024**2


@dataclass(eq=False)
class NotAsBefore(Corrupt):
    """A restored disk or guest is not what it was at the backup."""

    what: str
    expected: str
    found: str

    template = "{0.what}: expected {0.expected}, found {0.found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A backup, what a second reader saw of each disk, and how much was written around it."""

    id: str
    name: str
    #: SHA-256 by target.
    references: dict[str, str]
    #: Committed before it began, and when it had ended.
    before: Progress
    after: Progress


class Story:
    """One server and its three backups."""

    def __init__(self, image: GuestImage, report: Report) -> None:
        name = f"{PREFIX}{new_id()[:6]}"
        self._report = report
        self._csbs: CsbsCommand = command()
        with report.step(f"make the server {name} with two disks"):
            self._server = GuestServer.create(image, name, HOME / name, URI)
        self._workload = Workload(self._server.shell)

    def tell(self) -> None:
        """Carries it out; raises at the first thing that is not as it must be."""
        self._boot()
        self._workload.begin()
        self._workload.wait_for_more(_MORE, timeout_s=_WRITE_TIMEOUT_S)
        first = self._back_up("full", "back up all of it while MariaDB writes")
        self._workload.wait_for_more(_MORE, timeout_s=_WRITE_TIMEOUT_S)
        second = self._back_up("second", "back up what changed")
        self._workload.wait_for_more(_MORE, timeout_s=_WRITE_TIMEOUT_S)
        third = self._back_up("third", "back up what changed since")
        with self._report.step("delete the first backup, free its space"):
            self._csbs("backup", "delete", first.id, "--yes")
            self._csbs("repository", "collect")
        self._wreck()
        self._restore(third)
        self._restore(second)
        with self._report.step("stop the server"):
            self._csbs("server", "stop", self._server.name)

    def _boot(self) -> None:
        with self._report.step("start it, wait for its agent and MariaDB"):
            self._csbs("server", "start", self._server.name)
            self._server.shell.wait_until_ready(timeout_s=_BOOT_TIMEOUT_S)
            self._workload.wait_for_database(timeout_s=_BOOT_TIMEOUT_S)

    def _back_up(self, name: str, what: str) -> Taken:
        before = self._workload.progress()
        folder = HOME / "references" / name
        folder.mkdir(parents=True)
        with self._report.step(f"{what}; a second reader takes references") as step:
            backup = self._csbs(
                *("backup", "create", self._server.name, "--name", name),
                *("--while-open", second_reader(folder, list(self._server.disks))),
            )
            step.tell_backup(backup, self._copy_duration_s())
        self._report_disks(backup)
        return Taken(
            id=backup["id"],
            name=name,
            references={
                target: (folder / target).read_text(encoding="ascii").split()[0]
                for target in self._server.disks
            },
            before=before,
            after=self._workload.progress(),
        )

    def _wreck(self) -> None:
        with self._report.step("stop the server and overwrite both disks with garbage"):
            self._csbs("server", "stop", self._server.name)
            for target, path in self._server.disks.items():
                size_mib = {"vda": 512, "vdb": 256}[target]
                writes = [
                    part
                    for offset in range(0, size_mib, 64)
                    for part in ("-c", f"write -P {offset // 64 + 65} {offset}M 48M")
                ]
                run_tool(
                    ["qemu-io", "-f", "qcow2", *writes, str(path)],
                    doing=f"wrecking {path}",
                    timeout_s=_TOOL_TIMEOUT_S,
                )

    def _restore(self, backup: Taken) -> None:
        with self._report.step(f"restore the {backup.name} backup") as step:
            done = self._csbs("restore", backup.id, "--yes", "--no-start")
        written_bytes = sum(disk["size_bytes"] for disk in done["disks"])
        step.tell_restore(written_bytes, step.duration_s)
        with self._report.step("compare every byte of both disks with the references"):
            for target, path in self._server.disks.items():
                found = image_sha256(path)
                if found != backup.references[target]:
                    what = f"disk {target} restored from the {backup.name} backup"
                    raise NotAsBefore(what, backup.references[target], found)
        self._boot()
        with self._report.step("check all rows and files inside the guest"):
            found_inside = self._workload.check()
            if not (found_inside.reaches(backup.before) and backup.after.reaches(found_inside)):
                what = f"content of the {backup.name} backup"
                expected = f"between {backup.before} and {backup.after}"
                raise NotAsBefore(what, expected, str(found_inside))
            print(f"  {found_inside}: all there, all right", flush=True)

    def _copy_duration_s(self) -> float:
        """How long the newest task copied, without the second reader."""
        newest = self._csbs("task", "list")["tasks"][-1]
        steps = self._csbs("task", "show", newest["id"])["steps"]
        return sum(
            (
                datetime.fromisoformat(step["ended_at"]) - datetime.fromisoformat(step["began_at"])
            ).total_seconds()
            for step in steps
            if step["name"].startswith("copy ")
        )

    def _report_disks(self, backup: dict[str, Any]) -> None:
        for disk in backup["disks"]:
            print(f"  {disk['target']}: {disk['mode']} ({disk['reason']})", flush=True)
        consistency = backup["consistency"]
        freeze = consistency["freeze"]
        why = f"frozen for {freeze['frozen_ms'] / 1000:.1f} s" if freeze else consistency["reason"]
        print(f"  consistency: {consistency['reached']} ({why})", flush=True)


def second_reader(folder: Path, targets: list[str]) -> str:
    """A shell command that reads each disk of the open job, and keeps its SHA-256."""
    lines = ["set -e", f"cd {folder}"]
    for target in targets:
        lines += [
            f'nbdcopy "$CSBS_EXPORT_{target.upper()}" {target}.raw',
            f"sha256sum {target}.raw > {target}",
            f"rm {target}.raw",
        ]
    return "\n".join(lines)


def image_sha256(disk: Path) -> str:
    """Of what a server would read from the image; the repository has no part in it."""
    raw = disk.with_suffix(".raw")
    run_tool(
        ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk), str(raw)],
        doing=f"reading {disk}",
        timeout_s=_TOOL_TIMEOUT_S,
    )
    digest = hashlib.sha256()
    with raw.open("rb") as file:
        while data := file.read(4 * _MIB):
            digest.update(data)
    raw.unlink()
    return digest.hexdigest()

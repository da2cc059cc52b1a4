"""The peers, each as its manual says, with its defaults unless said otherwise.

restic and borg read the sparse raw file (no NBD in their way), borg skips its holes; qemu-img and
virtnbdbackup ask for what is allocated.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.arithmetic import Sample
from benchmarks.running import folder_size, run_measured
from benchmarks.source import Source, compare
from csbs.blockio.processes import run_tool
from csbs.testing.libvirt_daemon import URI

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Other programs, at work in `folder`."""

    source: Source
    folder: Path

    def restic(self) -> tuple[Sample, Sample]:
        """`restic backup` into a new repository (always encrypted), and `restic restore`."""
        place = self._new("restic")
        settings = {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(place / "cache")}
        repository, restored = place / "repository", place / "restored"
        restic = ["restic", "-q", "-r", str(repository)]
        self._run([*restic, "init"], settings)
        backup = self._run([*restic, "backup", str(self.source.raw)], settings)
        backup = replace(backup, stored_bytes=folder_size(repository))
        restore = self._run([*restic, "restore", "latest", "--target", str(restored)], settings)
        compare(self.source.raw, restored / self.source.raw.relative_to("/"), other_format="raw")
        shutil.rmtree(place)
        return backup, restore

    def borg(self) -> Sample:
        """`borg create`, lz4, fixed blocks of 64 KiB, holes skipped, no encryption."""
        place = self._new("borg")
        settings = {
            "BORG_BASE_DIR": str(place / "base"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        repository = place / "repository"
        self._run(["borg", "init", "-e", "none", str(repository)], settings)
        how = ["--compression", "lz4", "--chunker-params", "fixed,65536", "--sparse"]
        create = ["borg", "create", *how, f"{repository}::first", str(self.source.raw)]
        sample = replace(self._run(create, settings), stored_bytes=folder_size(repository))
        shutil.rmtree(place)
        return sample

    def qemu_img(self) -> Sample:
        """`qemu-img convert -c`, as it is: zlib."""
        target = self.folder / "converted.qcow2"
        convert = ["qemu-img", "convert", "-c", "-f", "qcow2", "-O", "qcow2"]
        sample = self._run([*convert, str(self.source.qcow2), str(target)], {})
        stored_bytes = target.stat().st_size
        target.unlink()
        return replace(sample, stored_bytes=stored_bytes)

    def virtnbdbackup(self, server: str) -> Sample:
        """A full backup with compression of a running server; `virtnbdrestore` takes it up."""
        place = self._new("virtnbd")
        backup = ["virtnbdbackup", "-d", server, "-l", "full", "-z", "-n", "-o"]
        sample = self._run([*backup, str(place / "backup")], {})
        for name in _virsh("checkpoint-list", server, "--name").split():
            _virsh("checkpoint-delete", server, name)
        return replace(sample, stored_bytes=folder_size(place / "backup"))

    def virtnbdrestore(self) -> Sample:
        """Restores what `virtnbdbackup` made, into a new image."""
        place = self.folder / "virtnbd"
        log, restored = place / "restore.log", place / "restored"
        restored.mkdir()
        places = ["-i", str(place / "backup"), "-o", str(restored), "-L", str(log)]
        sample = self._run(["virtnbdrestore", "-a", "restore", "-n", *places], {})
        (image,) = [path for path in restored.iterdir() if path.name.startswith("vda")]
        compare(self.source.raw, image, other_format="qcow2")
        shutil.rmtree(place)
        return sample

    def _new(self, name: str) -> Path:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return place

    def _run(self, command: list[str], settings: dict[str, str]) -> Sample:
        return run_measured(command, durable=self.folder, environment=settings).sample


def _virsh(verb: str, *arguments: str) -> str:
    return run_tool(["virsh", "-c", URI, "-q", verb, *arguments], doing=verb, timeout_s=_TIMEOUT_S)

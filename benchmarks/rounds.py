"""One round of all lanes on one disk.  Each takes its turn, so that none has a quiet hour alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arithmetic import Sample
from benchmarks.nbd_lanes import Bounds, change
from benchmarks.peers import Peers
from benchmarks.product import Product
from benchmarks.running import sync
from benchmarks.source import Source, compare
from benchmarks.stages import measure_stages
from csbs.testing.libvirt_domains import DomainServer
from csbs.testing.seaweedfs import WRITER, SeaweedFS, seaweedfs_running

Keep = Callable[[str, Sample], None]

TARGET = "vda"
CHANGED_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Works on `server`, whose disk gets the source's content; each sample goes to `keep`."""

    source: Source
    server: DomainServer
    folder: Path
    seed: int
    keep: Keep

    def run(self) -> None:
        """All lanes; every image that csbs restored was compared when it returns."""
        self._stopped()
        self._in_s3()
        self._stages()
        self._peers()
        self._running()

    def _stopped(self) -> None:
        bounds = Bounds(source=self.source, folder=self.folder)
        product = Product(folder=self.folder / "csbs")
        self._renew_disk()
        product.make()
        self.keep("start", product.start())
        self.keep("zstd", bounds.zstd())
        _, full = product.back_up(self.server.name, mode="full")
        self.keep("full", full)
        product.untrack(self.server.name)
        self._encrypted()
        self.keep("read", bounds.read())
        rescanned, rescan = product.back_up(self.server.name, mode="rescan")
        self.keep("rescan", rescan)
        self._restore(product, rescanned)
        self.keep("zstd_decompress", bounds.zstd_decompress())
        self.keep("nbdcopy_write", bounds.nbdcopy_write())
        self._change(product, rescanned)
        product.untrack(self.server.name)
        product.remove()

    def _encrypted(self) -> None:
        """The same full backup into an encrypted repository, right behind the plain one."""
        product = Product(folder=self.folder / "csbs-encrypted", encrypted=True)
        product.make()
        _, sample = product.back_up(self.server.name, mode="full")
        self.keep("encrypted_full", sample)
        product.untrack(self.server.name)
        product.remove()

    def _restore(self, product: Product, backup_id: str, *, lane: str = "restore") -> None:
        """Onto nothing: the image is made anew."""
        disk = self.server.path(TARGET)
        aside = disk.with_suffix(".aside")
        disk.rename(aside)
        self.keep(lane, product.restore(backup_id))
        compare(self.source.raw, disk, other_format="qcow2")
        aside.replace(disk)

    def _change(self, product: Product, backup_id: str) -> None:
        """An increment of 1 %, and back: on a disk whose changes are known."""
        disk, socket = self.server.path(TARGET), self.folder / "change.sock"
        change(disk, socket, share=CHANGED_SHARE, seed=self.seed)
        _, sample = product.back_up(self.server.name, mode="incremental")
        self.keep("change", sample)
        self.keep("diff_restore", product.restore(backup_id))
        compare(self.source.raw, disk, other_format="qcow2")

    def _in_s3(self) -> None:
        """The same as on the folder, with an S3 server that takes its part of the processors."""
        self._renew_disk()
        with seaweedfs_running(self.folder / "seaweedfs") as server:
            product = Product(folder=self.folder / "csbs-s3", settings=_in_store_of(server))
            product.make()
            _, full = product.back_up(self.server.name, mode="full")
            self.keep("full_s3", full)
            product.untrack(self.server.name)
            rescanned, rescan = product.back_up(self.server.name, mode="rescan")
            self.keep("rescan_s3", rescan)
            self._restore(product, rescanned, lane="restore_s3")
            product.untrack(self.server.name)
        product.remove()
        shutil.rmtree(self.folder / "seaweedfs")

    def _stages(self) -> None:
        folder = self.folder / "stages"
        for stage, sample in measure_stages(self.source, folder).items():
            self.keep(stage, sample)
        shutil.rmtree(folder)

    def _peers(self) -> None:
        peers = Peers(source=self.source, folder=self.folder)
        backup, restore = peers.restic()
        self.keep("restic", backup)
        self.keep("restic_restore", restore)
        self.keep("borg", peers.borg())
        self.keep("qemu_img", peers.qemu_img())

    def _running(self) -> None:
        """Backups of one running server, by virtnbdbackup and csbs; its processors stand still."""
        self._renew_disk()
        peers = Peers(source=self.source, folder=self.folder)
        product = Product(folder=self.folder / "csbs")
        product.make()
        self.server.start()
        self.server.pause()
        self.keep("virtnbdbackup", peers.virtnbdbackup(self.server.name))
        _, sample = product.back_up(self.server.name, mode="full")
        self.keep("full_live", sample)
        product.untrack(self.server.name)
        self.server.power_off()
        self.keep("virtnbdrestore", peers.virtnbdrestore())
        product.remove()

    def _renew_disk(self) -> None:
        disk = self.server.path(TARGET)
        disk.unlink()
        shutil.copyfile(self.source.qcow2, disk)
        sync(disk.parent)


def _in_store_of(server: SeaweedFS) -> dict[str, str]:
    return {
        "CSBS_STORE_URL": server.url(),
        "CSBS_S3_ACCESS_KEY_ID": WRITER.access_key_id,
        "CSBS_S3_SECRET_ACCESS_KEY": WRITER.secret_access_key,
    }

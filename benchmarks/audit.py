"""The audit by itself: the function that each incremental backup calls, on a disk that is clean."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.arithmetic import Sample
from benchmarks.settings import DISK_SIZE_BYTES
from benchmarks.source import Source
from csbs.agent.audit import AuditOptions, audit_disk
from csbs.agent.backup_disk import Copying, CopyOptions, DiskCopy, back_up_disk
from csbs.blockio.processes import run_tool
from csbs.blockio.qemu_nbd import NbdImage, start_qemu_nbd
from csbs.domain.clock import monotonic, new_id, utc_now
from csbs.repository import ContentIndex, Repository
from csbs.repository.objectstore import FolderStore

_BITMAP = "bench"
_TIMEOUT_S = 60.0


def measure_audit(
    source: Source, folder: Path, *, rounds: int, keep: Callable[[str, Sample], None]
) -> None:
    """Audits another window in each round.  Raises `AssertionError` if one finds a difference."""
    folder.mkdir()
    image = folder / "audited.qcow2"
    shutil.copyfile(source.qcow2, image)
    add = ["qemu-img", "bitmap", "--add", "-f", "qcow2", str(image), _BITMAP]
    run_tool(add, doing="adding a bitmap", timeout_s=_TIMEOUT_S)
    served = NbdImage(
        path=str(image), format="qcow2", export="disk", read_only=True, bitmap=_BITMAP
    )
    store = FolderStore(folder / "store")
    store.make()
    repository = Repository.open(
        store, name="audited", catalog_id="bench", clock=utc_now, new_id=new_id
    )
    index = ContentIndex(folder / "index.sqlite")
    socket, pid_file = folder / "audit.sock", folder / "audit.pid"
    with start_qemu_nbd(served, socket=socket, pid_file=pid_file) as server:
        _audits(server.uri, repository, index, rounds, keep)
    index.close()
    shutil.rmtree(folder)


def _audits(
    uri: str,
    repository: Repository,
    index: ContentIndex,
    rounds: int,
    keep: Callable[[str, Sample], None],
) -> None:
    context = f"qemu:dirty-bitmap:{_BITMAP}"
    disk = DiskCopy(disk="vda", uri=uri, size_bytes=DISK_SIZE_BYTES, dirty_context=None)
    writer = repository.begin(new_id(), started_at=utc_now(), index=index)
    options = CopyOptions()
    with options.pool() as pool:
        parent = back_up_disk(
            disk,
            writer.image("disk", DISK_SIZE_BYTES, parent=None),
            Copying(options=options, pool=pool),
            progress=lambda _: None,
            cancelled=lambda: False,
        ).image
    writer.commit(created_at=utc_now(), facts={})
    tracked = DiskCopy(disk="vda", uri=uri, size_bytes=DISK_SIZE_BYTES, dirty_context=context)
    for turn in range(rounds):
        writer = repository.begin(new_id(), started_at=utc_now(), index=index)
        image = writer.image("disk", DISK_SIZE_BYTES, parent=parent)
        began = monotonic()
        done = audit_disk(tracked, image, AuditOptions(), turn=turn, cancelled=lambda: False)
        keep("audit", Sample(seconds=monotonic() - began))
        assert done.wrong_block is None, done
        assert done.compared_blocks, done
        writer.abort()

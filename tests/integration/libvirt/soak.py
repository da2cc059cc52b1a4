"""`make soak`: chains of backups through random events, as long as one likes.

    make soak                        10 minutes
    make soak SOAK_MINUTES=600       a night
    make soak SEED=4711              the chain with this seed again, and no other

Each round is a new server and a chain whose events, writes and order follow from its seed.  After
each event the server is backed up, and the backup is held against its disks byte for byte; at the
end so are all backups of the chain that were not deleted, and one of them is restored.  Backups are
restored in between as well, by a csbs that may be killed, and each that ends well is held against
the backup.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from csbs.config import Settings
from csbs.domain.clock import monotonic
from csbs.domain.errors import RestoreUnfinished
from csbs.testing import by_hand
from csbs.testing.chain import Chain, Kept
from csbs.testing.dying_backup import backup_dies
from csbs.testing.dying_restore import restore_dies
from csbs.testing.libvirt_daemon import libvirt_running
from csbs.testing.libvirt_domains import PREFIX, DomainServer, export_io
from tests.integration.libvirt.chains import KIB, new_chain

EVENTS_A_ROUND = 12
CLUSTER = 64 * KIB
_SEEDS = 1_000_000
#: More clock calls than a backup has: some let it succeed.
_PLACES = 24
#: The same for a restore; below 0 so many writes.
_RESTORE_PLACES = (*range(1, 25, 3), -1, -2, -3, -5, -8, -13, -21, -34)
# Not in the usual place of temporary files: QEMU, which is another user, must be able to enter.
_RUN_FOLDER = Path(f"/run/{PREFIX}soak")
_SCRATCH_FOLDER = Path(f"/var/lib/{PREFIX}soak")

Event = Callable[["Round"], None]


class Round:
    """One chain, and what decides what happens to it."""

    def __init__(self, chain: Chain, settings: Settings, seed: int) -> None:
        self.chain = chain
        self.settings = settings
        self.random = random.Random(seed)
        #: What happened, for people.
        self.events: list[str] = []

    @property
    def server(self) -> DomainServer:
        return self.chain.server

    def disk(self) -> str:
        """Some disk."""
        return self.random.choice(sorted(self.server.disks))

    def tracked_disk(self) -> str:
        """Some disk whose changes are tracked."""
        return self.random.choice(["vda", "vdb"])

    def play(self) -> None:
        """Lets one event happen that can happen now, then backs the server up."""
        possible = ANY_TIME + (RUNNING if self.server.is_active() else STOPPED)
        event = self.random.choice(possible)
        self.events.append(event.__name__)
        self.chain.scribble()
        event(self)
        self.chain.scribble()
        self.chain.back_up()

    def finish(self) -> None:
        """Checks all backups, and restores one that fits on the disks."""
        self.chain.check_all()
        self.chain.restore(self.random.choice(self.chain.restorable()))


def start(this: Round) -> None:
    this.server.start()


def power_off(this: Round) -> None:
    this.server.power_off()


def kill_qemu(this: Round) -> None:
    this.server.kill()
    this.chain.learn()
    this.server.start()


def kill_qemu_during_a_backup(this: Round) -> None:
    this.chain.fail(during=this.server.kill)
    this.chain.learn()


def kill_csbs(this: Round) -> None:
    content = this.chain.content
    number = this.random.randrange(_PLACES)
    this.events[-1] += f" at {number}"
    backup_dies(this.settings, this.server.id, number)
    this.chain.back_up()  # ends what the dead one left, which may hold the images
    this.chain.adopt(content)


def remove_a_bitmap(this: Round) -> None:
    by_hand.remove_tracking(this.server, this.tracked_disk(), this.chain.tracking)


def switch_a_bitmap_off(this: Round) -> None:
    by_hand.switch_tracking_off(this.server, this.tracked_disk(), this.chain.tracking)


def forget_the_checkpoint(this: Round) -> None:
    this.server.virsh("checkpoint-delete", this.chain.tracking, "--metadata")


def delete_the_checkpoint(this: Round) -> None:
    this.server.virsh("checkpoint-delete", this.chain.tracking)


def resize(this: Round) -> None:
    """Once or twice: a disk may get its former size again."""
    target = this.disk()
    former = len(this.chain.content[target])
    size = this.random.randint(1, 12) * 512 * KIB
    if this.random.random() < 0.5:
        # In whole clusters: what is behind a cut may come back in the rest of one.
        moved = target in this.server.moved
        cluster = CLUSTER if moved else this.server.disks[target].cluster_size_bytes
        size -= this.random.randint(1, 512 * KIB // cluster - 1) * cluster
    this.chain.resize(target, size)
    if this.random.random() < 0.5:
        this.chain.resize(target, former)


def discard_a_disk(this: Round) -> None:
    target = this.disk()
    size = len(this.chain.content[target])
    whole = size // CLUSTER * CLUSTER
    if whole:
        this.server.discard(target, offset=0, size=whole)
    this.chain.scribbler.content[target] = bytes(whole) + this.chain.content[target][whole:]


def snapshot_or_commit(this: Round) -> None:
    target = this.tracked_disk()
    if target in this.server.moved:
        by_hand.commit_snapshot(this.server, target)
    else:
        by_hand.snapshot(this.server, target)


def put_an_older_copy_there(this: Round) -> None:
    """In the same file, or as another file under the same path."""
    target = this.disk()
    image = this.server.path(target)
    copy = this.server.folder / "older.copy"
    shutil.copy(image, copy)
    content = this.chain.content[target]
    this.chain.scribble()
    if this.random.random() < 0.5:
        this.chain.back_up()
        this.chain.scribble()
    if this.random.random() < 0.5:
        shutil.copy(copy, image)
    else:
        by_hand.take_over(this.server, copy)
        copy.replace(image)
    this.chain.scribbler.content[target] = content


def write_by_qemu_nbd(this: Round) -> None:
    target = this.disk()
    with by_hand.served(this.server, target) as uri:
        export_io(uri, *this.chain.scribbler.scribble(target, 6))


def delete_a_backup(this: Round) -> None:
    if len(this.chain.kept) > 1:
        this.chain.delete(this.random.choice(this.chain.kept))


def restore_backups(this: Round) -> None:
    """One after the other, with or without writes between them."""
    was_active = this.server.is_active()
    for _ in range(2):
        this.chain.restore(_restorable(this))
        if this.random.random() < 0.5:
            this.chain.scribble()
    if was_active:
        this.server.start()


def kill_csbs_in_restores(this: Round) -> None:
    """Of any backups, with and without their qemu-nbd, until one ends well."""
    was_active = this.server.is_active()
    for _ in range(this.random.randint(1, 3)):
        number = this.random.choice(_RESTORE_PLACES)
        this.events[-1] += f" at {number}"
        restore_dies(this.settings, _restorable(this).backup.id, number)
        if this.random.random() < 0.5:
            by_hand.kill_qemu_nbd(this.settings.run_dir)
            write_in_between(this)
        if this.chain.half_restored:
            assert isinstance(this.chain.fail(), RestoreUnfinished)
    this.chain.restore(_restorable(this))
    if was_active:
        this.server.start()


def write_in_between(this: Round) -> None:
    """To a disk that may be half written; the server may still run."""
    this.server.io(this.disk(), f"write -P 77 {this.random.randrange(64) * 512} 512", "flush")


def _restorable(this: Round) -> Kept:
    """A backup that fits on the disks."""
    if not this.chain.restorable():
        this.chain.back_up()
    return this.random.choice(this.chain.restorable())


ANY_TIME: list[Event] = [
    *(kill_csbs, remove_a_bitmap, switch_a_bitmap_off, forget_the_checkpoint),
    *(resize, discard_a_disk, delete_a_backup),
    *(restore_backups, kill_csbs_in_restores, kill_csbs_in_restores),
]
RUNNING: list[Event] = [
    *(power_off, kill_qemu, kill_qemu_during_a_backup, delete_the_checkpoint),
    *(snapshot_or_commit, snapshot_or_commit),
]
STOPPED: list[Event] = [start, start, start, put_an_older_copy_there, write_by_qemu_nbd]


def play_round(settings: Settings, seed: int, *, tmp: Path, events: int) -> list[str]:
    """Plays one round and returns what happened; its errors bear that as a note."""
    with new_chain(settings, seed=seed, tmp=tmp) as chain:
        this = Round(chain, settings, seed)
        try:
            chain.server.start()
            chain.back_up()
            for _ in range(events):
                this.play()
            this.finish()
        except BaseException as error:
            error.add_note(f"seed {seed}: {', '.join(this.events)}")
            raise
        return this.events


def soak(seeds: Iterator[int], *, minutes: float) -> None:
    """Plays rounds until the time is over, or the seeds are."""
    end_s = monotonic() + 60 * minutes
    with libvirt_running() as uri:
        for seed in seeds:
            _say(f"SEED={seed}")
            with tempfile.TemporaryDirectory() as folder:
                events = play_round(
                    _settings(uri, Path(folder)), seed, tmp=Path(folder), events=EVENTS_A_ROUND
                )
            _say(f"  {len(events)} events: {', '.join(events)}")
            if monotonic() >= end_s:
                return


def _settings(uri: str, folder: Path) -> Settings:
    return Settings(
        data_dir=folder / "data",
        libvirt_uri=uri,
        run_dir=_RUN_FOLDER,
        scratch_dir=_SCRATCH_FOLDER,
        stop_timeout_s=1,  # there is no guest system that could shut down
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _random_seeds() -> Iterator[int]:
    while True:
        yield random.SystemRandom().randrange(_SEEDS)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int)
    chosen = parser.parse_args()
    seeds = _random_seeds() if chosen.seed is None else iter([chosen.seed])
    try:
        soak(seeds, minutes=chosen.minutes)
    finally:
        for folder in (_RUN_FOLDER, _SCRATCH_FOLDER):
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

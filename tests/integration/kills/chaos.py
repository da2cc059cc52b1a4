"""Rounds in which a service gets work and is killed; what it leaves is held against what it owes.

    python -m tests.integration.kills.chaos [--libvirt] [--postgres] [--minutes 10] [--seed N]

After each death and the next start: every task ends by itself; no backup is there twice, none that
was available is gone, and each is byte for byte what the disks were; TrackingPoints are just those
that the catalog names; the servers run; nothing is left of jobs.  The next backup is incremental.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg

from csbs.app import host_of, wired
from csbs.catalog import Catalog, Transaction, backups, leases, servers, tasks
from csbs.domain.backup import Backup, BackupState
from csbs.domain.clock import monotonic, new_id, sleep, utc_now
from csbs.domain.ids import ProjectId
from csbs.services.project_app import App
from csbs.testing.postgres import Postgres, postgres_running
from tests.integration.kills.hosts import KillHost, Victim, fake_host, libvirt_host
from tests.integration.kills.service import Client, ServiceProcess

Content = dict[str, bytes]
_KEPT_MAX = 4
_DISTURBED = 0.6
_KILLED_TOO = 0.3
_SEEDS = 1_000_000


class Chaos:
    """A service, its servers, and what is known of both."""

    def __init__(
        self, host: KillHost, folder: Path, seed: int, postgres: Postgres | None = None
    ) -> None:
        """`postgres` has the catalog, and is killed, cut off and paused too."""
        self.host = host
        self._postgres = postgres
        self.service = ServiceProcess(host.command, host.settings, folder / "log")
        self.random = random.Random(seed)
        self.seen: Counter[str] = Counter()
        #: By server: what is on the disks.
        self.content = {victim.id: victim.content() for victim in host.victims}
        #: By id of a backup: what it may be.
        self.backups: dict[str, list[Content]] = {}
        self._deleted: set[str] = set()
        #: As of the last check.
        self._available: set[str] = set()
        #: Ids of tasks that ended before it.
        self._told: set[str] = set()
        #: Backups that were restored since.
        self._restored: list[str] = []
        self._events: list[str] = []
        self._policy_id = ""

    def begin(self) -> None:
        """A service with two backups of each server."""
        self._fill()
        self.service.start()
        with self._client() as client:
            self._policy_id = client.make_policy([victim.id for victim in self.host.victims])
        for _ in range(2):
            self.scribble()
            self.back_up_all()

    def _fill(self) -> None:
        """Gives a full backup and a restore something to do."""
        for victim in self.host.victims:
            for target, size in victim.sizes.items():
                for number in range(size // 2 // 65536):
                    self._write(victim, target, number * 65536, 65536, self.random.randrange(256))

    def play(self) -> None:
        """One round: work, an end, a start, and the check."""
        self._events.clear()
        try:
            self.scribble()
            with self._client() as client:
                for _ in range(self.random.randint(1, 3)):
                    self._act(client)
                    sleep(self.random.random() * 0.3)
            sleep(self.random.random() ** 2 * 3)
            if self._postgres is not None and self.random.random() < _DISTURBED:
                self._disturb(self._postgres)
            else:
                self._end()
                self._start()
            with self._client() as client:
                client.wait_until_ended()
            self.check()
            self.back_up_all()
        except BaseException as error:
            error.add_note(f"events: {', '.join(self._events)}")
            raise

    def scribble(self) -> None:
        """The servers write; nothing works on them."""
        for victim in self.host.victims:
            for target, size in victim.sizes.items():
                if self.random.random() < 0.8:
                    start = self.random.randrange(size // 512 - 200) * 512
                    length = self.random.randint(1, 200) * 512
                    self._write(victim, target, start, length, self.random.randrange(256))

    def _write(self, victim: Victim, target: str, start: int, length: int, pattern: int) -> None:
        victim.write(target, offset=start, size=length, pattern=pattern)
        old = self.content[victim.id][target]
        new = bytes([pattern]) * length
        self.content[victim.id][target] = old[:start] + new + old[start + length :]

    def back_up_all(self) -> None:
        """Each server, and each backup is good; incremental where there was one before."""
        with self._client() as client:
            made = {}
            for victim in self.host.victims:
                answer = client.call("POST", "/backups", {"server": victim.id})
                assert answer.status_code == 202, answer.text
                made[victim.id] = answer.json()["id"]
            client.wait_until_ended()
            for server_id, backup_id in made.items():
                document = client.call("GET", f"/backups/{backup_id}").json()
                assert document["status"] == "available", document
                modes = [disk["mode"] for disk in document["disks"] if disk["target"] != "vdc"]
                is_first = not any(
                    each["server"]["id"] == server_id and each["id"] != backup_id
                    for each in client.backups()
                )
                reasons = [disk["reason"] for disk in document["disks"]]
                assert is_first or set(modes) == {"incremental"}, f"{modes}: {reasons}"
                self.backups[backup_id] = [dict(self.content[server_id])]
            self._thin_out(client)
        self.check()

    def _thin_out(self, client: Client) -> None:
        there = [each["id"] for each in client.backups()]
        for backup_id in self.random.sample(there, max(0, len(there) - 2 * _KEPT_MAX)):
            self._deleted.add(backup_id)
            client.call("DELETE", f"/backups/{backup_id}")
        client.wait_until_ended()

    # --- what happens ------------------------------------------------------------------------

    def _act(self, client: Client) -> None:
        action = self.random.choice(
            [
                *(self._back_up, self._back_up, self._run_policy, self._delete),
                *(self._restore, self._restore, self._cancel),
            ]
        )
        self._events.append(action.__name__.strip("_"))
        answer = action(client)
        if answer is not None:
            self.seen[f"{action.__name__.strip('_')} {answer.status_code}"] += 1
            self._events[-1] += f" {answer.status_code}"
            # The wire calls some refusals of a policy 500.
            assert answer.status_code < 500 or "Policy (p)" in answer.text, answer.text

    def _back_up(self, client: Client) -> httpx.Response:
        victim = self.random.choice(self.host.victims)
        full = self.random.random() < 0.3
        return client.call("POST", "/backups", {"server": victim.id, "full": full})

    def _run_policy(self, client: Client) -> httpx.Response:
        return client.run_policy(self._policy_id)

    def _delete(self, client: Client) -> httpx.Response:
        chosen = self.random.choice(client.backups())
        answer = client.call("DELETE", f"/backups/{chosen['id']}")
        if answer.status_code < 300:
            self._deleted.add(chosen["id"])
        return answer

    def _restore(self, client: Client) -> httpx.Response | None:
        there = [each for each in client.backups() if each["status"] == "available"]
        if not there:
            return None
        chosen = self.random.choice(there)
        return client.call("POST", f"/backups/{chosen['id']}/restore", {})

    def _cancel(self, client: Client) -> httpx.Response | None:
        there = client.open_tasks()
        if not there:
            return None
        return client.call("POST", f"/tasks/{self.random.choice(there)['id']}/cancel")

    def _disturb(self, postgres: Postgres) -> None:
        """Something happens to the database; the service goes on, or is killed too."""
        action = self.random.choice([_restart, _cut, _pause])
        self._note(f"postgres {action.__name__.strip('_')}")
        action(postgres, self.host.settings.catalog_url, self.random.random() * 4)
        if self.random.random() < _KILLED_TOO:
            self._end()
            self._start()

    def _end(self) -> None:
        chance = self.random.random()
        if chance < 0.8:
            self._note("kill")
            self.service.kill()
        elif chance < 0.9:
            self._note("term")
            self.service.signal(signal.SIGTERM)
            if self.random.random() < 0.5:
                sleep(self.random.random())
                self.service.kill()
                return
            code = self.service.wait()
            assert code == 0, code
        else:
            self._note("stop")
            self.service.signal(signal.SIGSTOP)
            sleep(1 + self.random.random() * 4)
            self.service.signal(signal.SIGCONT)
            sleep(self.random.random())
            self.service.kill()

    def _start(self) -> None:
        while self.random.random() < 0.25:
            self._note("kill in start")
            self.service.begin_start()
            sleep(self.random.random() * 3)
            self.service.kill()
        self.service.start()
        self.seen["start"] += 1

    def _note(self, event: str) -> None:
        self._events.append(event)
        self.seen[event] += 1

    # --- what must hold ----------------------------------------------------------------------

    def check(self) -> None:
        """All that is owed when no task is open."""
        with self._looked() as (app, project_id, catalog):
            with catalog.transaction() as transaction:
                self._check_tasks(transaction, project_id)
                there = backups.of_project(transaction, project_id)
                assert leases.of_project(transaction, project_id) == []
            self._learn(there, app)
            self._check_backups(there, app)
            for victim in self.host.victims:
                self._check_server(victim, catalog, project_id)

    def _check_tasks(self, transaction: Transaction, project_id: ProjectId) -> None:
        found = tasks.of_project(transaction, project_id)
        assert [each for each in found if each.is_open] == []
        made = [each.backup_id for each in found if each.kind == "backup"]
        assert len(made) == len(set(made)), "a backup has two tasks"
        known = set(made)
        for each in backups.of_project(transaction, project_id):
            # A policy's server that was busy has a record, and no task.
            assert each.id in known or each.state is BackupState.ERROR, "no task made it"
        for task in found:
            if task.id in self._told:
                continue
            self._told.add(task.id)
            self.seen[f"= {task.kind} {task.state} {task.error_code}"] += 1
            if task.kind == "restore" and task.state == "done":
                self._restored.append(task.backup_id)

    def _learn(self, there: list[Backup], app: App) -> None:
        """What the disks are now, and what new backups may be."""
        for victim in self.host.victims:
            possible = [self.content[victim.id]]
            for backup_id in self._restored:
                backup = next((each for each in there if each.id == backup_id), None)
                known = self.backups.get(backup_id)
                if backup is None or backup.server_id == victim.id:
                    possible += known or ([] if backup is None else [_saved(app, backup)])
            now = victim.content()
            assert now in possible, "the disks are neither what they were nor what was restored"
            self.content[victim.id] = now
            for backup in there:
                if backup.server_id == victim.id:
                    self.backups.setdefault(backup.id, possible)
        self._restored.clear()

    def _check_backups(self, there: list[Backup], app: App) -> None:
        states = {each.state for each in there}
        assert states <= {BackupState.AVAILABLE, BackupState.ERROR}, states
        available: set[str] = {each.id for each in there if each.state is BackupState.AVAILABLE}
        lost = self._available - available - self._deleted
        assert lost == set(), f"lost: {lost}"
        for each in there:
            if each.state is BackupState.AVAILABLE:
                assert _saved(app, each) in self.backups[each.id], f"{each.id} is something else"
                self.seen["verified"] += 1
        self._available = available

    def _check_server(self, victim: Victim, catalog: Catalog, project_id: ProjectId) -> None:
        assert victim.is_running()
        with catalog.transaction() as transaction:
            tokens = servers.tokens(transaction, project_id, victim.id)
        assert set(victim.tracking()) == {token.name for token in tokens.values()}
        assert victim.leftovers() == []
        # A guard whose job never began gives it two minutes.
        named = (str(self.host.settings.run_dir), str(victim.id))
        assert _processes("qemu-nbd", *named) == []

    @contextmanager
    def _looked(self) -> Iterator[tuple[App, ProjectId, Catalog]]:
        """The catalog and the store, past the service that has them."""
        settings = self.host.settings
        catalog = Catalog.open(settings.catalog_url or settings.data_dir / "catalog.sqlite")
        try:
            home = catalog.home(clock=utc_now, new_id=new_id)
            app = wired(settings, catalog, home, host_of(settings, self.host.driver))
            yield app, home.project_id, catalog
        finally:
            catalog.close()

    @contextmanager
    def _client(self) -> Iterator[Client]:
        client = Client(self.service.url)
        try:
            yield client
        finally:
            client.close()


def _restart(postgres: Postgres, _url: str, down_s: float) -> None:
    postgres.kill()
    sleep(down_s)
    postgres.start()


def _cut(_postgres: Postgres, url: str, _down_s: float) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _pause(postgres: Postgres, _url: str, down_s: float) -> None:
    pids = postgres.processes()
    for signum in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
        if signum is signal.SIGSTOP:
            sleep(down_s)


def _saved(app: App, backup: Backup) -> Content:
    with app.repositories.shared("a check") as repository:
        manifest = repository.manifest(backup.manifest_key)
        found = {}
        for disk in backup.disks:
            image = manifest.image(disk.disk_id)
            assert image is not None
            found[disk.target] = repository.reader(image).read(0, image.size_bytes)
        return found


def _processes(program: str, *words: str) -> list[str]:
    """Command lines of this program that bear one of the words."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(file.read_text("utf-8", "replace").replace("\0", " "))
    return [each for each in found if program in each and any(word in each for word in words)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--libvirt", action="store_true")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--rate", default="")
    chosen = parser.parse_args()
    seed = random.SystemRandom().randrange(_SEEDS) if chosen.seed is None else chosen.seed
    sys.stdout.write(f"SEED={seed}\n")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="k-")))
        more: dict[str, Any] = {"rate_limit": chosen.rate} if chosen.rate else {}
        server = None
        if chosen.postgres:
            server = stack.enter_context(postgres_running())
            more["catalog_url"] = server.new_database()
        if chosen.libvirt:
            host = stack.enter_context(libvirt_host(folder, **more))
        else:
            host = fake_host(folder, **more)
        this = Chaos(host, folder, seed, server)
        end, number = monotonic() + 60 * chosen.minutes, 0
        try:
            this.begin()
            while monotonic() < end and number < chosen.rounds:
                number += 1
                this.play()
                if number % 10 == 0:
                    sys.stdout.write(f"{number} rounds\n")
                    sys.stdout.flush()
        except BaseException:
            lines = [each for each in this.service.said().splitlines() if "answered" not in each]
            sys.stdout.write("\n".join(lines[-40:]) + "\n")
            raise
        finally:
            this.service.kill()
            sys.stdout.write(f"{number} rounds, {dict(sorted(this.seen.items()))}\n")


if __name__ == "__main__":
    main()

"""A real S3 server, or csbs, is killed in the middle of a backup of a real server; then a retry.

Each backup is held against the disks byte for byte, in the end once more (`csbs.testing.chain`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from csbs.config import Settings
from csbs.domain.backup import BackupState
from csbs.domain.errors import Unavailable
from csbs.repository.objectstore import ObjectStore
from csbs.testing.chain import Chain, Contents, told
from csbs.testing.s3_proxy import S3Proxy, Sent
from csbs.testing.seaweedfs import WRITER, SeaweedFS, seaweedfs_running
from tests.integration.libvirt.chains import ALL_TRACKED, begin_running, new_chain
from tests.integration.libvirt.shell import PROGRAM

pytestmark = pytest.mark.host

_WAIT_S = 60.0
#: A dead store is given up after so long; a living one answers sooner, on a machine under load too.
_STORE_TIMEOUT_S = 2.0

PREFIX = "dies"
PACKS, MANIFESTS = "/packs/", "/manifests/"
#: A backup of these disks puts a pack of blocks, then one of nodes, then its manifest.
Moment = tuple[str, int, Sent]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SeaweedFS]:
    """A server of one's own, which may be killed."""
    with seaweedfs_running(tmp_path / "seaweedfs") as server:
        yield server


@pytest.fixture
def proxy(server: SeaweedFS) -> Iterator[S3Proxy]:
    with S3Proxy(server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def in_s3(settings: Settings, server: SeaweedFS, proxy: S3Proxy) -> Settings:
    """Backups go by way of the proxy."""
    return settings.model_copy(
        update={
            "store_url": server.url(PREFIX).replace(server.endpoint, proxy.endpoint),
            "s3_access_key_id": WRITER.access_key_id,
            "s3_secret_access_key": WRITER.secret_access_key,
            "store_timeout_s": _STORE_TIMEOUT_S,
        }
    )


@pytest.fixture
def chain(in_s3: Settings, tmp_path: Path) -> Iterator[Chain]:
    """A running server with two backups, both checked."""
    with new_chain(in_s3, seed=41, tmp=tmp_path) as chain:
        begin_running(chain)
        yield chain


def is_committed(moment: Moment) -> bool:
    return moment[0] == MANIFESTS and moment[2] is Sent.ALL


def assert_retry_is_right(chain: Chain, committed: Contents | None) -> None:
    """The next backup misses nothing; one that was committed before the death is there, once."""
    available = len(chain.kept) + (committed is not None)
    chain.scribble()
    assert told(chain.back_up()) == ALL_TRACKED  # nothing is left behind either
    if committed is not None:
        chain.adopt(committed)
    assert len(chain.kept) == available + 1
    chain.check_all()


def assert_nothing_is_doubled(chain: Chain, store: ObjectStore) -> None:
    """Catalog, manifests and packs say the same, after a collection too."""
    listed = [each for each in chain.backups.list_all() if each.state is BackupState.AVAILABLE]
    assert sorted(each.id for each in listed) == sorted(kept.backup.id for kept in chain.kept)
    assert all(
        each.state in {BackupState.AVAILABLE, BackupState.ERROR}
        for each in chain.backups.list_all()
    )
    repositories = chain.backups.repositories
    assert repositories.collect(lambda _: None).packs_deleted > 0
    assert repositories.collect(lambda _: None).packs_deleted == 0
    with repositories.shared("a test") as repository:
        manifests = list(repository.manifests())
    assert sorted(each.backup_id for each in manifests) == sorted(each.id for each in listed)
    packs = list(store.list(f"{chain.backups.project_id}/packs/"))
    # One of blocks and one of nodes each, and one of blocks that was left and is used again.
    assert len(packs) <= 3 * len(chain.kept)
    chain.check_all()
    assert chain.server.state() == "running"


SERVER_DEATHS: Sequence[Moment] = [
    (PACKS, 0, Sent.HALF),
    (PACKS, 1, Sent.ALL),
    (MANIFESTS, 0, Sent.HALF),
    (MANIFESTS, 0, Sent.ALL),
]


def test_the_store_is_killed(chain: Chain, server: SeaweedFS, proxy: S3Proxy) -> None:
    for moment in SERVER_DEATHS:
        path_part, skip, sent = moment
        chain.scribble()
        content = chain.content
        proxy.when("PUT", path_part, sent, server.kill, skip=skip)
        error = chain.fail()
        proxy.over()
        assert isinstance(error, Unavailable), moment
        assert f"s3://backups/{PREFIX}" in str(error)
        assert not chain.server.has_job()
        assert chain.server.state() == "running"
        if is_committed(moment):  # whoever asks while it is dead learns nothing, and spoils nothing
            assert isinstance(chain.fail(), Unavailable)
        server.start()
        assert_retry_is_right(chain, content if is_committed(moment) else None)
    assert_nothing_is_doubled(chain, server.store(PREFIX))


def test_the_store_is_killed_and_comes_back_in_time(
    in_s3: Settings, tmp_path: Path, server: SeaweedFS, proxy: S3Proxy
) -> None:
    def restart() -> None:
        server.kill()
        server.start()

    patient = in_s3.model_copy(update={"store_timeout_s": _WAIT_S})
    with new_chain(patient, seed=42, tmp=tmp_path) as chain:
        begin_running(chain)
        for path_part, sent in ((PACKS, Sent.HALF), (MANIFESTS, Sent.ALL)):
            chain.scribble()
            proxy.when("PUT", path_part, sent, restart)
            assert told(chain.back_up()) == ALL_TRACKED
            proxy.over()
        assert [each.state for each in chain.backups.list_all()] == [BackupState.AVAILABLE] * 4
        chain.check_all()


CSBS_DEATHS: Sequence[Moment] = [
    (PACKS, 0, Sent.HALF),
    (PACKS, 1, Sent.ALL),
    (MANIFESTS, 0, Sent.NOTHING),
    (MANIFESTS, 0, Sent.HALF),
    (MANIFESTS, 0, Sent.ALL),
]


@pytest.fixture
def csbs(in_s3: Settings) -> Callable[..., subprocess.Popen[str]]:
    """Types a command into a process of its own."""
    environment = {
        f"CSBS_{name}".upper(): str(getattr(in_s3, name))
        for name in (
            *("data_dir", "libvirt_uri", "run_dir", "scratch_dir", "stop_timeout_s"),
            *("store_url", "s3_access_key_id", "s3_secret_access_key", "store_timeout_s"),
        )
    }

    def typed(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env=environment | {"PATH": os.defpath},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    return typed


def test_csbs_is_killed(
    chain: Chain, server: SeaweedFS, proxy: S3Proxy, csbs: Callable[..., subprocess.Popen[str]]
) -> None:
    for moment in CSBS_DEATHS:
        path_part, skip, sent = moment
        chain.scribble()
        content = chain.content
        running: list[subprocess.Popen[str]] = []

        def kill(running: list[subprocess.Popen[str]] = running) -> None:
            running[0].kill()
            running[0].wait(_WAIT_S)

        proxy.when("PUT", path_part, sent, kill, skip=skip)
        running.append(csbs("backup", "create", chain.server.name))
        with running[0] as process:
            assert process.wait(_WAIT_S) == -signal.SIGKILL, moment
        proxy.over()
        assert chain.server.state() == "running"
        assert_retry_is_right(chain, content if is_committed(moment) else None)
    assert_nothing_is_doubled(chain, server.store(PREFIX))
    with csbs("backup", "list", "--json") as listing:
        out, _ = listing.communicate(timeout=_WAIT_S)
    backups = json.loads(out)["backups"]
    available = [each["id"] for each in backups if each["status"] == "available"]
    assert sorted(available) == sorted(kept.backup.id for kept in chain.kept)

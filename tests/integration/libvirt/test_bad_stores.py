"""What may be wrong with a store or its keys, as whoever types a command meets it.

A clear error that names the object, and nothing is hurt: what was backed up before restores, and
the next backup succeeds when the fault is gone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from csbs.repository import text_object
from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_domains import DomainServer
from csbs.testing.s3_proxy import GONE, Answer, S3Proxy, refusal
from csbs.testing.seaweedfs import BUCKET, READER, STRANGER, WRITER, Account, SeaweedFS
from tests.integration.libvirt.shell import Shell, contents

pytestmark = pytest.mark.host

FOREIGN = ("Foreign Name", "packs/ü%41", "packs/UPPER", "notes.txt", "manifests/x y")


@dataclass
class World:
    """A repository with one backup, and what a case may do to it."""

    csbs: Shell
    seaweedfs: SeaweedFS
    proxy: S3Proxy
    monkeypatch: pytest.MonkeyPatch
    prefix: str
    mends: list[Callable[[], object]] = field(default_factory=list)

    def be(self, account: Account) -> None:
        """From now on csbs has these keys."""
        self.monkeypatch.setenv("CSBS_S3_ACCESS_KEY_ID", account.access_key_id)
        self.monkeypatch.setenv("CSBS_S3_SECRET_ACCESS_KEY", account.secret_access_key)

    def use(self, bucket: str = BUCKET) -> None:
        """From now on csbs keeps backups in this bucket, by way of the proxy."""
        url = self.seaweedfs.url(self.prefix, bucket=bucket)
        url = url.replace(self.seaweedfs.endpoint, self.proxy.endpoint)
        self.monkeypatch.setenv("CSBS_STORE_URL", url)

    @property
    def keys(self) -> list[str]:
        """Of all objects in the store."""
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix=self.prefix)
        return [each["Key"] for each in listed["Contents"]]

    @property
    def client(self) -> Any:
        return self.seaweedfs.client()

    def mend(self) -> None:
        """All is well again."""
        self.be(WRITER)
        self.use()
        for mend in self.mends:
            mend()
        self.proxy.over()


@dataclass(frozen=True)
class Case:
    """What is done to the store, and what `csbs backup create` says then."""

    spoil: Callable[[World], object]
    code: int
    kind: str
    #: The object that the error is about, and what is said of it.
    names: str
    says: str


def other_region_key(world: World) -> None:
    path = world.csbs.data_dir / "region.key"
    kept = path.read_bytes()
    other = Shell(world.csbs.data_dir.with_name("other"), world.csbs.capture)
    world.monkeypatch.setenv("CSBS_STORE_URL", f"file://{other.data_dir}/store")
    world.monkeypatch.setenv("CSBS_ENCRYPTION", "on")
    other.ok("repository", "init")
    world.monkeypatch.delenv("CSBS_ENCRYPTION")
    world.use()
    path.write_bytes((other.data_dir / "region.key").read_bytes())
    world.mends.append(lambda: path.write_bytes(kept))


def no_region_key(world: World) -> None:
    path = world.csbs.data_dir / "region.key"
    aside = path.rename(path.with_name("aside"))
    world.mends.append(lambda: aside.rename(path))


def newer_format(world: World) -> None:
    [key] = [each for each in world.keys if each.endswith("/config") and "/twins/" not in each]
    kept = world.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    fields = text_object.decode("config", text_object.CONFIG_MAGIC, kept)
    newer = text_object.encode(text_object.CONFIG_MAGIC, {**fields, "format": 2})
    world.client.put_object(Bucket=BUCKET, Key=key, Body=newer)
    world.mends.append(lambda: world.client.put_object(Bucket=BUCKET, Key=key, Body=kept))


def scripted(answer: Answer) -> Callable[[World], None]:
    """All is well up to the first pack."""
    return lambda world: world.proxy.on("PUT", "/packs/", answer)


STORE = f"s3://{BUCKET}/bad/"
CASES = {
    "wrong key": Case(other_region_key, 6, "denied", STORE, "region.key has another one"),
    "key missing": Case(no_region_key, 7, "unavailable", STORE, "there is no key in"),
    "newer format": Case(newer_format, 5, "refused", STORE, "install a newer csbs"),
    "no rights": Case(
        lambda world: world.be(STRANGER), 6, "denied", STORE, "SignatureDoesNotMatch"
    ),
    "read-only store": Case(lambda world: world.be(READER), 6, "denied", STORE, "AccessDenied"),
    "bucket missing": Case(
        lambda world: world.use("nowhere"), 7, "unavailable", "s3://nowhere", "no such bucket"
    ),
    "endpoint gone in the middle": Case(scripted(GONE), 7, "unavailable", STORE, "put packs/"),
    "clock skew": Case(
        scripted(refusal(403, "RequestTimeTooSkewed")), 6, "denied", STORE, "set the clocks"
    ),
    "store full": Case(
        scripted(refusal(507, "XMinioStorageFull")), 7, "unavailable", STORE, "is full"
    ),
}


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[S3Proxy]:
    with S3Proxy(seaweedfs.endpoint) as proxy:
        yield proxy


@pytest.fixture
def server(offline_server: DomainServer) -> DomainServer:
    """A stopped server with some data on each of its three disks."""
    for target in ("vda", "vdb", "vdc"):
        offline_server.write(target, offset=0, size=MIB, pattern=1)
    return offline_server


@pytest.fixture
def world(
    csbs: Shell, seaweedfs: SeaweedFS, proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> World:
    monkeypatch.setenv("CSBS_STORE_TIMEOUT_S", "2")
    world = World(csbs, seaweedfs, proxy, monkeypatch, f"bad/{uuid4()}")
    world.mend()
    return world


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_bad_store_fails_one_backup_by_a_clear_error(
    world: World, server: DomainServer, case: Case
) -> None:
    csbs = world.csbs
    first = csbs.ok("backup", "create", server.name)
    expected = contents(server)
    checkpoints = server.checkpoints()
    server.write("vda", offset=MIB, size=MIB, pattern=2)
    changed = contents(server)

    case.spoil(world)
    failed = csbs("backup", "create", server.name, "--json")
    world.mend()

    assert (failed.code, failed.error["kind"]) == (case.code, case.kind), failed.err
    assert case.names in failed.error["message"]
    assert case.says in failed.error["message"]
    assert WRITER.secret_access_key not in failed.err
    assert_none_is_under_way(csbs)
    assert_nothing_is_hurt(csbs, server, {first["id"]: expected}, changed)
    assert set(checkpoints).isdisjoint(server.checkpoints())


def assert_none_is_under_way(csbs: Shell) -> None:
    """One that failed says so, if it came so far that it is listed."""
    listed = csbs.ok("backup", "list")["backups"]
    assert {each["status"] for each in listed} <= {"available", "error"}


def assert_nothing_is_hurt(
    csbs: Shell,
    server: DomainServer,
    before: dict[str, dict[str, bytes]],
    now: dict[str, bytes],
) -> None:
    """The next backup is right and incremental, and all that were made restore."""
    after = csbs.ok("backup", "create", server.name)
    assert [disk["mode"] for disk in after["disks"]] == ["incremental", "incremental", "rescan"]
    csbs.ok("repository", "collect")
    assert csbs("repository", "verify", "--all").code == 0
    for backup_id, content in {**before, after["id"]: now}.items():
        csbs.ok("restore", backup_id, "--yes", "--no-start")
        assert contents(server) == content
    listed = csbs.ok("backup", "list")["backups"]
    available = [each["id"] for each in listed if each["status"] == "available"]
    assert sorted(available) == sorted([*before, after["id"]])


def test_foreign_objects_in_the_bucket_do_no_harm_and_stay(
    world: World, server: DomainServer
) -> None:
    csbs = world.csbs
    first = csbs.ok("backup", "create", server.name)
    expected = contents(server)
    [config] = [key for key in world.keys if key.endswith("/config") and "/twins/" not in key]
    folder = config.removesuffix("config")
    for key in FOREIGN:
        for below in (folder, f"{world.prefix}/"):
            world.client.put_object(Bucket=BUCKET, Key=f"{below}{key}", Body=b"foreign")
    server.write("vda", offset=MIB, size=MIB, pattern=2)

    assert_nothing_is_hurt(csbs, server, {first["id"]: expected}, contents(server))
    assert {f"{folder}{key}" for key in FOREIGN} <= set(world.keys)


@pytest.fixture
def folder_of_its_own(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a store."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "csbs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_folder_that_is_read_only_is_named(
    csbs: Shell, server: DomainServer, folder_of_its_own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = folder_of_its_own / "store"
    monkeypatch.setenv("CSBS_STORE_URL", f"file://{store}")
    first = csbs.ok("backup", "create", server.name)
    expected = contents(server)
    server.write("vda", offset=MIB, size=MIB, pattern=2)

    subprocess.run(["mount", "-o", "remount,ro", folder_of_its_own], check=True)
    failed = csbs("backup", "create", server.name, "--json")
    subprocess.run(["mount", "-o", "remount,rw", folder_of_its_own], check=True)

    assert (failed.code, failed.error["kind"]) == (6, "denied"), failed.err
    assert str(store) in failed.error["message"]
    assert "Read-only file system" in failed.error["message"]
    assert_none_is_under_way(csbs)
    assert_nothing_is_hurt(csbs, server, {first["id"]: expected}, contents(server))

"""What may be wrong with a store in S3: a clear error that names it, and nothing is hurt."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from csbs.domain.errors import CsbsError
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.store_url import S3Place
from csbs.repository import Manifest, Repository
from csbs.repository.errors import (
    StoreDenied,
    StoreFull,
    StoreMissing,
    StoreTimeout,
    StoreUnavailable,
    StoreUnsuitable,
)
from csbs.repository.objectstore import ObjectStore
from csbs.repository.objectstore.s3 import S3Store
from csbs.testing.repositories import START, Lab, noise, write_image
from csbs.testing.s3_proxy import GONE, Answer, S3Proxy, refusal
from csbs.testing.seaweedfs import BUCKET, READER, STRANGER, Account, SeaweedFS
from tests.integration.s3.conftest import open_at

DATA = noise(1, 20 * BLOCK_SIZE)
MORE = noise(2, 20 * BLOCK_SIZE)


@dataclass(frozen=True)
class World:
    """What a case may use."""

    place: S3Place
    proxy: S3Proxy
    silent: str


@dataclass(frozen=True)
class Case:
    """The store as it is then, and what a backup says of it."""

    store: Callable[[World], S3Store]
    error: type[CsbsError]
    says: str


def scripted(path_part: str, answer: Answer) -> Callable[[World], S3Store]:
    """All is well up to a PUT like this."""

    def store(world: World) -> S3Store:
        world.proxy.on("PUT", path_part, answer)
        return open_at(world.place, endpoint=world.proxy.endpoint)

    return store


CASES = {
    "wrong secret": Case(
        lambda world: open_at(world.place, STRANGER), StoreDenied, "SignatureDoesNotMatch"
    ),
    "unknown key": Case(
        lambda world: open_at(world.place, Account("nobody", "x")),
        StoreDenied,
        "InvalidAccessKeyId",
    ),
    "read-only": Case(lambda world: open_at(world.place, READER), StoreDenied, "AccessDenied"),
    "bucket missing": Case(
        lambda world: open_at(replace(world.place, bucket="nowhere")),
        StoreMissing,
        "no such bucket",
    ),
    "nobody listens": Case(
        lambda world: open_at(world.place, endpoint="http://127.0.0.1:9"),
        StoreUnavailable,
        "Connection refused",
    ),
    "no such host": Case(
        lambda world: open_at(world.place, endpoint="http://nowhere.invalid"),
        StoreUnavailable,
        "error sending request",
    ),
    "silent": Case(
        lambda world: open_at(world.place, endpoint=world.silent, timeout_s=0.5),
        StoreTimeout,
        "did not answer within 0.5 s",
    ),
    "gone in the middle": Case(scripted("/packs/", GONE), StoreUnavailable, "put packs/"),
    "gone before the commit": Case(
        scripted("/manifests/", GONE), StoreUnavailable, "put manifests/"
    ),
    "fails in the middle": Case(
        scripted("/packs/", refusal(500, "InternalError")), StoreUnavailable, "InternalError"
    ),
    "too busy": Case(scripted("/packs/", refusal(503, "SlowDown")), StoreUnavailable, "SlowDown"),
    "clocks differ": Case(
        scripted("/packs/", refusal(403, "RequestTimeTooSkewed")), StoreDenied, "set the clocks"
    ),
    "full": Case(scripted("/packs/", refusal(507, "XMinioStorageFull")), StoreFull, "is full"),
    "over its quota": Case(
        scripted("/packs/", refusal(403, "QuotaExceeded")), StoreFull, "is full"
    ),
    "rights taken in the middle": Case(
        scripted("/packs/", refusal(403, "AccessDenied")), StoreDenied, "put packs/"
    ),
}


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def world(place: S3Place, proxy: S3Proxy, silent: str) -> World:
    return World(place, proxy, silent)


def back_up(lab: Lab, store: ObjectStore, data: bytes) -> Manifest:
    repository: Repository = lab.opened(store)
    writer = lab.begin(repository)
    blocks = {n: data[n * BLOCK_SIZE : (n + 1) * BLOCK_SIZE] for n in range(20)}
    try:
        write_image(writer, len(data), blocks)
        return writer.commit(created_at=START, facts={})
    except CsbsError:
        writer.abort()
        raise


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_bad_store_fails_one_backup_by_a_clear_error(lab: Lab, world: World, case: Case) -> None:
    first = back_up(lab, lab.store, DATA)

    with pytest.raises(case.error, match=case.says) as raised:
        back_up(lab, case.store(world), MORE)
    assert f"s3://{BUCKET}" in str(raised.value) or "s3://nowhere" in str(raised.value)
    assert "secret" not in str(raised.value)

    world.proxy.over()
    second = back_up(lab, lab.store, MORE)
    lab.repository.collect(lab.index)
    assert [each.key for each in lab.repository.manifests()] == sorted([first.key, second.key])
    assert lab.restored(first) == DATA
    assert lab.restored(second) == MORE


def test_who_may_only_read_restores(lab: Lab, place: S3Place) -> None:
    manifest = back_up(lab, lab.store, DATA)
    reader = lab.opened(open_at(place, READER))

    found = reader.reader(reader.manifest(manifest.key).images[0])

    assert found.read(0, len(DATA)) == DATA


FOREIGN = ("Foreign Name", "packs/ü%41", "packs/UPPER", "folder/", "notes.txt", "manifests/x y")


@pytest.mark.parametrize("key", FOREIGN)
def test_foreign_objects_in_the_bucket_stay_and_do_no_harm(
    lab: Lab, seaweedfs: SeaweedFS, place: S3Place, key: str
) -> None:
    first = back_up(lab, lab.store, DATA)
    client = seaweedfs.client()
    client.put_object(Bucket=BUCKET, Key=f"{place.prefix}/{key}", Body=b"foreign")

    second = back_up(lab, lab.store, MORE)
    lab.repository.delete(first.key, first.backup_id, deleted_at=START)
    report = lab.repository.collect(lab.index)

    assert report.packs_deleted > 0
    assert lab.restored(second) == MORE
    assert [each.key for each in lab.opened().manifests()] == [second.key]
    client.head_object(Bucket=BUCKET, Key=f"{place.prefix}/{key}")


def test_a_key_that_the_client_cannot_name_is_told_by_a_clear_error(
    world: World, place: S3Place
) -> None:
    """Not a test of a real server: this one takes no such key."""
    listing = (
        "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated><Contents>"
        f"<Key>{place.prefix}/packs//x</Key><Size>1</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
    )
    world.proxy.on("GET", "list-type=2", Answer(200, listing))

    with pytest.raises(StoreUnsuitable, match="packs//x"):
        list(open_at(place, endpoint=world.proxy.endpoint).list("packs/"))

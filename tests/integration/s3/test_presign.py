"""Presigned requests against a real server: create-only, one key, one method, a short time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

import pytest

from csbs.domain.store_url import S3Place
from csbs.repository.errors import InvalidKey
from csbs.repository.objectstore.presign import PresignedRequest, Presigner
from csbs.repository.objectstore.s3 import S3Store
from csbs.testing.any_s3 import S3Service

WRITERS = 8
KEY = "packs/ab/1"


pytestmark = pytest.mark.any_s3


@pytest.fixture
def place(any_s3: S3Service) -> S3Place:
    return any_s3.new_place()


@pytest.fixture
def store(any_s3: S3Service, place: S3Place) -> S3Store:
    return any_s3.store(place)


@pytest.fixture
def presigner(any_s3: S3Service, place: S3Place) -> Presigner:
    return Presigner(place, any_s3.access)


def send(
    request: PresignedRequest,
    body: bytes = b"",
    *,
    method: str = "",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of the answer; as a client without any keys sends it."""
    url = urlsplit(request.url)
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(str(url.hostname), url.port, timeout=30)
    try:
        sent = request.headers if headers is None else headers
        connection.request(method or request.method, f"{url.path}?{url.query}", body, dict(sent))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_second_put_is_refused_and_changes_nothing(
    presigner: Presigner, store: S3Store
) -> None:
    request = presigner.put(KEY, expires_s=60)

    assert send(request, b"first")[0] == 200
    assert send(request, b"other")[0] == 412
    assert store.get(KEY) == b"first"


@pytest.mark.parametrize(
    "headers", [{}, {"If-None-Match": "other"}], ids=["left out", "another value"]
)
def test_a_put_without_its_condition_is_denied(
    presigner: Presigner, store: S3Store, headers: Mapping[str, str]
) -> None:
    store.put(KEY, [b"kept"])

    assert send(presigner.put(KEY, expires_s=60), b"other", headers=headers)[0] == 403
    assert store.get(KEY) == b"kept"


def test_of_eight_writers_one_wins(presigner: Presigner, store: S3Store) -> None:
    request = presigner.put(KEY, expires_s=60)
    begin = threading.Barrier(WRITERS, timeout=30)

    def write(number: int) -> int:
        begin.wait()
        return send(request, b"%d" % number)[0]

    with ThreadPoolExecutor(WRITERS) as pool:
        statuses = list(pool.map(write, range(WRITERS)))

    assert sorted(statuses) == [200] + [412] * (WRITERS - 1)
    assert store.get(KEY) == b"%d" % statuses.index(200)


def test_a_get_reads_all_or_a_range(presigner: Presigner, store: S3Store) -> None:
    store.put(KEY, [b"0123456789"])
    request = presigner.get(KEY, expires_s=60)

    assert send(request) == (200, b"0123456789")
    assert send(request, headers={"Range": "bytes=3-6"}) == (206, b"3456")
    assert send(request, headers={"Range": "bytes=-2"}) == (206, b"89")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_get_allows_nothing_else(presigner: Presigner, store: S3Store, method: str) -> None:
    store.put(KEY, [b"kept"])

    assert send(presigner.get(KEY, expires_s=60), b"x", method=method)[0] == 403
    assert send(presigner.put(KEY, expires_s=60), b"x", method="DELETE")[0] == 403
    assert store.get(KEY) == b"kept"


def test_a_request_is_for_one_key(presigner: Presigner, store: S3Store) -> None:
    request = presigner.put(KEY, expires_s=60)
    other = PresignedRequest(
        method="PUT", url=request.url.replace(KEY, "packs/ab/2"), headers=request.headers
    )

    assert send(other, b"x")[0] == 403
    assert list(store.list("")) == []


def test_what_is_no_key_is_not_signed(presigner: Presigner) -> None:
    with pytest.raises(InvalidKey):
        presigner.put("../other", expires_s=60)


def test_a_request_does_not_show_its_signature(presigner: Presigner) -> None:
    assert "Signature" not in repr(presigner.put(KEY, expires_s=60))

"""Addresses of stores: what they name, and that they never show a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from csbs.domain.store_url import FolderPlace, InvalidStoreUrl, S3Place, StorePlace, parse_store_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///srv/backups", FolderPlace(Path("/srv/backups"))),
        ("file:///srv/a%20b?c", FolderPlace(Path("/srv/a%20b?c"))),
        ("s3://bucket", S3Place(bucket="bucket")),
        ("s3://bucket/", S3Place(bucket="bucket")),
        ("s3://bucket/a/B_c/", S3Place(bucket="bucket", prefix="a/B_c")),
        (
            "s3://bucket/a?endpoint=http://127.0.0.1:8333/&region=eu-1",
            S3Place(bucket="bucket", prefix="a", endpoint="http://127.0.0.1:8333", region="eu-1"),
        ),
    ],
)
def test_an_address_names_a_place(url: str, expected: StorePlace) -> None:
    assert parse_store_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/backups",
        "file://srv/backups",
        "ftp://host/x",
        "s3://",
        "s3://b",
        "s3://Bucket",
        "s3://bucket/a//b",
        "s3://bucket/../b",
        "s3://bucket/a b",
        "s3://bucket?endpoint=127.0.0.1",
        "s3://bucket?endpoint=https://host/path",
        "s3://bucket?endpoint=https://host:port",
        "s3://bucket?region=eu 1",
        "s3://bucket?region=a&region=b",
        "s3://bucket?secret=1",
        "s3://bucket?x",
        "s3://bucket:port",
        "s3://[bucket",
    ],
)
def test_what_names_no_store_is_refused_with_the_reason(url: str) -> None:
    with pytest.raises(InvalidStoreUrl) as raised:
        parse_store_url(url)

    assert raised.value.why


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hidden@bucket/prefix",
        "s3://bucket?secret_access_key=hidden",
        "s3://bucket?endpoint=https://key:hidden@host",
        "s3://bucket#hidden",
        "s3://bucket:hidden",
    ],
)
def test_a_key_in_an_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidStoreUrl) as raised:
        parse_store_url(url)

    assert "hidden" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("file:///srv", "file:///srv/p1"),
        ("s3://bucket", "s3://bucket/p1"),
        ("s3://bucket/a?endpoint=https://host", "s3://bucket/a/p1 at https://host"),
    ],
)
def test_a_project_has_a_place_below_the_store(url: str, name: str) -> None:
    assert parse_store_url(url).below("p1").name == name

"""Where a store is, as an operator writes it.

file:///srv/backups
s3://bucket
s3://bucket/prefix?endpoint=https://s3.example.net&region=eu-1

An address says where, never who: keys are settings of their own, since addresses are shown, logged
and kept in shell histories.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

from csbs.domain.errors import Invalid

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_REGION = re.compile(r"[a-z0-9-]+")
_REGION_DEFAULT = "us-east-1"
_PARAMETERS = {"endpoint", "region"}


@dataclass(eq=False)
class InvalidStoreUrl(Invalid):
    """Not an address of a store; what may be a key is left out of `url`."""

    url: str
    why: str

    template = "{0.url} names no store: {0.why}"


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A local folder."""

    folder: Path

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"file://{self.folder}"

    def below(self, name: str) -> FolderPlace:
        """The place `name` in it."""
        return FolderPlace(self.folder / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """Keys with a prefix in a bucket of an S3-compatible store."""

    bucket: str
    #: Without slashes at its ends; empty: the whole bucket.
    prefix: str = ""
    #: `http(s)://host[:port]`; empty: Amazon's of the region.
    endpoint: str = ""
    region: str = _REGION_DEFAULT

    @property
    def name(self) -> str:
        """What a person calls it."""
        path = f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket
        return f"s3://{path} at {self.endpoint}" if self.endpoint else f"s3://{path}"

    def below(self, name: str) -> S3Place:
        """The place `name` in it."""
        return replace(self, prefix=f"{self.prefix}/{name}" if self.prefix else name)


StorePlace = FolderPlace | S3Place


def parse_store_url(url: str) -> StorePlace:
    """The place that `url` names.  Raises `InvalidStoreUrl`, which never shows a key."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises on a port that is none
    except ValueError:
        raise InvalidStoreUrl(_shown(url), "it is no address") from None
    if "@" in parts.netloc or parts.fragment:
        raise InvalidStoreUrl(_shown(url), "keys do not belong here: set s3_access_key_id ...")
    if parts.scheme == "file":
        return _folder(url, parts)
    if parts.scheme == "s3":
        return _s3(url, parts)
    raise InvalidStoreUrl(
        _shown(url), "write file:///absolute/folder, or s3://bucket/prefix?endpoint=https://host"
    )


def _folder(url: str, parts: SplitResult) -> FolderPlace:
    if parts.netloc or not parts.path.startswith("/"):
        raise InvalidStoreUrl(_shown(url), "a folder is written file:///absolute/folder")
    # The rest as it is: a folder may have a question mark or a per cent in its name.
    return FolderPlace(Path(url.removeprefix("file://")))


def _s3(url: str, parts: SplitResult) -> S3Place:
    def refuse(why: str) -> InvalidStoreUrl:
        return InvalidStoreUrl(_shown(url), why)

    prefix = parts.path.strip("/")
    if not _BUCKET.fullmatch(parts.netloc):
        raise refuse("the bucket's name has 3 to 63 of a-z 0-9 . -")
    if (prefix and not _PREFIX.fullmatch(prefix)) or {".", ".."} & set(prefix.split("/")):
        raise refuse("a prefix has a-z A-Z 0-9 . _ - and single slashes")
    try:
        pairs = parse_qsl(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True)
    except ValueError:
        raise refuse("behind the question mark come endpoint=... and region=...") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs) or not parameters.keys() <= _PARAMETERS:
        raise refuse("behind the question mark come endpoint=... and region=..., once each")
    endpoint = parameters.get("endpoint", "").rstrip("/")
    if endpoint and not _is_endpoint(endpoint):
        raise refuse("an endpoint is http(s)://host or http(s)://host:port")
    region = parameters.get("region", _REGION_DEFAULT)
    if not _REGION.fullmatch(region):
        raise refuse("a region has a-z 0-9 -")
    return S3Place(bucket=parts.netloc, prefix=prefix, endpoint=endpoint, region=region)


def _is_endpoint(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        parts.port  # noqa: B018  raises on a port that is none
    except ValueError:
        return False
    bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and bare


def _shown(url: str) -> str:
    """The address for an error: neither what is before an @, nor behind ? # or a colon."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = re.split("[?#]", rest.rpartition("@")[2])[0].partition("/")
    return (
        f"{scheme}{separator}{host.partition(':')[0]}{slash}{path}" if separator else repr(scheme)
    )

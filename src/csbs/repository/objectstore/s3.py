"""A store in a bucket of an S3-compatible server.

Three things of S3 are used, which all servers have: GET of a range, PUT with `If-None-Match: *`
(create-only), and LIST.  An acknowledged PUT is durable.  Nothing here tries again: see
`RetryingStore`.

This module is imported where a store is in S3, and only there: it loads much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store as Client

from csbs.domain.clock import NewId
from csbs.domain.errors import CsbsError, folder_error
from csbs.domain.store_url import S3Place
from csbs.repository.errors import (
    ObjectExists,
    ObjectNotFound,
    StoreUnavailable,
    StoreUnsuitable,
)
from csbs.repository.objectstore.base import Bytes, ObjectInfo, checked_key, is_key, require_same
from csbs.repository.objectstore.s3_errors import Call, error_of, is_behind_the_end, names_a_cause

if TYPE_CHECKING:  # they are not there at run time
    from obstore import GetOptions
    from obstore.store import ClientConfig, S3Credential

T = TypeVar("T")

#: What the client may raise: its own, a built-in for "not found", and for wrong arguments.
_FOREIGN = (BaseError, FileNotFoundError, ValueError)
_CONNECT_TIMEOUT_S = 10.0
#: The most that a server gives in one answer.
_LISTED_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """Who asks, and how long an answer may take; the secret is never shown."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    timeout_s: float = 120.0
    #: Certificates (PEM) that are trusted besides the system's.
    ca_file: Path | None = None


class S3Store:
    """See `ObjectStore`.

    Raises besides `StoreMissing` if there is no such bucket.  A clock that differs too much from
    the server's is `StoreDenied`.  There is no reserve: an account or bucket that is full may
    refuse even the few bytes that a deletion needs (`StoreFull`), until it is given more.
    Objects in the bucket that are not ours are not looked at.
    """

    def __init__(self, place: S3Place, access: S3Access) -> None:
        """Asks nobody yet.  Raises `FolderDenied`, `FolderUnusable` for the file of the CA."""
        self._name = place.name
        self._timeout_s = access.timeout_s
        self._client = _client(place, access)

    def require_create_only(self, new_id: NewId) -> None:
        """Tries whether the server keeps a create-only PUT: else a late writer could overwrite.

        Raises `StoreUnsuitable`, and what `put` raises.
        """
        key = f"probe/{new_id()}"
        self.put(key, [b"1"])
        try:
            self.put(key, [b"2"])
        except ObjectExists:
            return
        finally:
            self.delete(key)
        raise StoreUnsuitable(self._name, "it overwrites objects in spite of If-None-Match")

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        """See `ObjectStore.put`."""
        del use_reserve  # there is none
        data = b"".join(parts)
        try:
            self._call("put", key, lambda: self._put(key, data, "create"), size_bytes=len(data))
        except AlreadyExistsError:
            self._require_same(key, data)

    def replace(self, key: str, data: bytes) -> None:
        """See `ObjectStore.replace`."""
        self._call("put", key, lambda: self._put(key, data, "overwrite"), size_bytes=len(data))

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        if size is None:
            return self._ranged(key, lambda: self._rest(key, offset), b"")
        if size <= 0:
            self.size(key)
            return b""
        return self._ranged(
            key,
            lambda: obstore.get_range(self._client, key, start=offset, length=size).to_bytes(),
            b"",
        )

    def size(self, key: str) -> int:
        """See `ObjectStore.size`."""
        return int(self._call("head", key, lambda: obstore.head(self._client, key))["size"])

    def tail(self, key: str, size: int) -> tuple[bytes, int]:
        """See `TailStore.tail`."""
        return self._ranged(key, lambda: self._suffix(key, size), (b"", 0))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore.list`; lists all of the folder that the prefix is in."""
        folder = prefix.rpartition("/")[0]
        parts = obstore.list(self._client, folder or None, chunk_size=_LISTED_MAX)
        while part := self._call("list", prefix, lambda: next(parts, None)):
            for each in part:
                key = each["path"]
                if key.startswith(prefix) and is_key(key):
                    yield ObjectInfo(key, each["size"])

    def folders(self) -> Sequence[str]:
        """First segments of the keys that have more than one, ascending."""
        found = self._call("list", "", lambda: obstore.list_with_delimiter(self._client))
        return sorted(each.rstrip("/") for each in found["common_prefixes"])

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        try:
            self._call("delete", key, lambda: obstore.delete(self._client, key))
        except ObjectNotFound:
            return

    def clear_leftovers(self) -> None:
        """See `ObjectStore.clear_leftovers`; there are none: a PUT is one request."""

    # --- requests ----------------------------------------------------------------------------

    def _put(self, key: str, data: bytes, mode: str) -> None:
        obstore.put(
            self._client,
            key,
            data,
            mode="create" if mode == "create" else "overwrite",
            use_multipart=False,
        )

    def _rest(self, key: str, offset: int) -> bytes:
        if not offset:
            return obstore.get(self._client, key).bytes().to_bytes()
        options: GetOptions = {"range": {"offset": offset}}
        return obstore.get(self._client, key, options=options).bytes().to_bytes()

    def _suffix(self, key: str, size: int) -> tuple[bytes, int]:
        result = obstore.get(self._client, key, options={"range": {"suffix": size}})
        return result.bytes().to_bytes(), int(result.meta["size"])

    def _require_same(self, key: str, data: bytes) -> None:
        try:
            require_same(self, key, [data])
        except ObjectNotFound as error:
            # Some servers say so of a PUT that lost against one that then failed.
            raise StoreUnavailable(key, "another write of it was under way") from error

    # --- errors ------------------------------------------------------------------------------

    def _ranged(self, key: str, do: Callable[[], T], behind_the_end: T) -> T:
        def ask() -> T:
            try:
                return do()
            except BaseError as error:
                if is_behind_the_end(str(error)):
                    return behind_the_end
                raise

        return self._call("get", key, ask)

    def _call(self, doing: str, key: str, do: Callable[[], T], *, size_bytes: int = 0) -> T:
        if doing != "list":
            checked_key(key)
        call = Call(
            store=self._name,
            doing=doing,
            key=key,
            timeout_s=self._timeout_s,
            size_bytes=size_bytes,
        )
        try:
            return do()
        except AlreadyExistsError:
            raise
        except _FOREIGN as error:
            raise self._told(str(error), call) from error

    def _told(self, text: str, call: Call) -> CsbsError:
        if call.doing != "head" or names_a_cause(text):
            return error_of(text, call)
        try:  # an answer to HEAD does not say whether object or bucket is missing; this one does
            obstore.get(self._client, call.key, options={"range": {"suffix": 1}})
        except _FOREIGN as error:
            return error_of(str(error), call)
        return error_of(text, call)


def _client(place: S3Place, access: S3Access) -> Client:
    endpoint = place.endpoint or f"https://s3.{place.region}.amazonaws.com"
    options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "timeout": timedelta(seconds=access.timeout_s),
        "connect_timeout": timedelta(seconds=min(_CONNECT_TIMEOUT_S, access.timeout_s)),
    }
    if access.ca_file is not None:
        options["root_certificate"] = _certificates(access.ca_file)
    keys: S3Credential = {
        "access_key_id": access.access_key_id,
        "secret_access_key": access.secret_access_key,
        "token": None,
        "expires_at": None,
    }
    return Client(
        place.bucket,
        prefix=place.prefix or None,
        endpoint=endpoint,
        # Else variables of the environment would send our backups elsewhere, or unsigned.
        aws_endpoint_url_s3=endpoint,
        skip_signature=False,
        region=place.region,
        credential_provider=lambda: keys,
        # Over TLS the payload needs no signature of its own: it would cost most of the time.
        unsigned_payload=endpoint.startswith("https://"),
        # One DELETE for one object: the request for many is not everywhere.
        disable_bulk_delete=True,
        virtual_hosted_style_request=False,
        client_options=options,
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=access.timeout_s)},
    )


def _certificates(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise folder_error(path, error) from error

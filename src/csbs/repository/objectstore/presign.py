"""Requests that somebody without keys may send: for one key, one method, a short time.

A process that nobody trusts gets these in the place of keys.  A PUT has `If-None-Match: *` among
its signed headers, so it can create the object and can never overwrite one; nothing here deletes
or lists.  The object store's own client signs `host` alone, hence this one, which is slow to load:
import it where it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config

from csbs.domain.store_url import S3Place
from csbs.repository.objectstore.base import checked_key
from csbs.repository.objectstore.s3 import S3Access

#: No signature lasts longer than that, by the protocol.
EXPIRES_S_MAX = 7 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignedRequest:
    """A request ready to be sent; whoever has it may send it until it expires."""

    method: str
    #: Is a secret while it lasts.
    url: str = field(repr=False)
    #: Must be sent as they are, else the server refuses (403).
    headers: Mapping[str, str]


class Presigner:
    """Makes presigned requests; asks no server.  May be used by several threads."""

    def __init__(self, place: S3Place, access: S3Access) -> None:
        self._place = place
        self._client = _client(place, access)

    def put(self, key: str, *, expires_s: int) -> PresignedRequest:
        """Creates the object: answered 200 once, and 412 ever after.  Raises `InvalidKey`.

        A repeated PUT whose first answer was lost gets 412 too: compare then, as
        `ObjectStore.put` does.
        """
        parameters = self._parameters(key) | {"IfNoneMatch": "*"}
        url = self._signed("put_object", parameters, expires_s)
        return PresignedRequest(method="PUT", url=url, headers={"If-None-Match": "*"})

    def get(self, key: str, *, expires_s: int) -> PresignedRequest:
        """Reads the object; a header `Range` may be added for a part.  Raises `InvalidKey`."""
        url = self._signed("get_object", self._parameters(key), expires_s)
        return PresignedRequest(method="GET", url=url, headers={})

    def _parameters(self, key: str) -> dict[str, str]:
        prefix = f"{self._place.prefix}/" if self._place.prefix else ""
        return {"Bucket": self._place.bucket, "Key": f"{prefix}{checked_key(key)}"}

    def _signed(self, operation: str, parameters: dict[str, str], expires_s: int) -> str:
        assert 0 < expires_s <= EXPIRES_S_MAX, "a short time"
        return str(
            self._client.generate_presigned_url(operation, Params=parameters, ExpiresIn=expires_s)
        )


def _client(place: S3Place, access: S3Access) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=place.endpoint or None,
        region_name=place.region,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        # The default for endpoints that are not Amazon's is version 2, which signs no headers.
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )

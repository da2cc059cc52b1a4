"""An S3 service, whichever it is, for the tests that each of them must pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

from csbs.domain.errors import InvalidSetting
from csbs.domain.store_url import S3Place, parse_store_url
from csbs.repository.objectstore.s3 import S3Access, S3Store


@dataclass(frozen=True, slots=True)
class S3Service:
    """A place in it, and keys that may read and write there."""

    place: S3Place
    access: S3Access

    def new_place(self) -> S3Place:
        """A place below that nobody else uses."""
        return self.place.below(str(uuid4()))

    def store(self, place: S3Place) -> S3Store:
        """A store there."""
        return S3Store(place, self.access)


@contextmanager
def s3_service(url: str, access: S3Access) -> Iterator[S3Service]:
    """What a `store_url` names; whatever the body puts there is deleted behind it."""
    place = parse_store_url(url)
    if not isinstance(place, S3Place):
        raise InvalidSetting("--s3-url", f"{url} is no address in S3")
    service = S3Service(place, access)
    own = replace(service, place=service.new_place())
    try:
        yield own
    finally:
        store = own.store(own.place)
        for info in list(store.list("")):
            store.delete(info.key)

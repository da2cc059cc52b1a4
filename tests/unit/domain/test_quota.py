"""Quotas: what counts, and when there is no room."""

from __future__ import annotations

import pytest

from csbs.domain.quota import (
    InvalidQuota,
    QuotaExceeded,
    Quotas,
    Usage,
    checked_limit,
    require_room_for_backups,
)


@pytest.mark.parametrize(
    ("quotas", "count", "fits"),
    [
        (Quotas(), 1000, True),
        (Quotas(backups=3), 1, True),
        (Quotas(backups=3), 2, False),
        (Quotas(backups=2), 0, True),
        (Quotas(backups=1), 0, False),
        (Quotas(backup_bytes=11), 1, True),
        (Quotas(backup_bytes=10), 1, False),
    ],
)
def test_room_for_backups(quotas: Quotas, count: int, *, fits: bool) -> None:
    usage = Usage(backups=2, backup_bytes=10, policies=0)

    if fits:
        require_room_for_backups(quotas, usage, count)
    else:
        with pytest.raises(QuotaExceeded):
            require_room_for_backups(quotas, usage, count)


def test_limits() -> None:
    assert (checked_limit("x", -1), checked_limit("x", 0), checked_limit("x", 7)) == (None, 0, 7)
    for limit in (-2, 2**53):
        with pytest.raises(InvalidQuota):
            checked_limit("x", limit)

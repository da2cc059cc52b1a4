"""Which new repositories are encrypted."""

from __future__ import annotations

import pytest

from csbs.domain.encryption import EncryptionMode, encryption_wanted


@pytest.mark.parametrize(
    ("mode", "store_url", "wanted"),
    [
        ("auto", "", False),
        ("auto", "file:///srv/backups", False),
        ("auto", "s3://bucket/prefix", True),
        ("auto", "gs://bucket", True),
        ("on", "", True),
        ("on", "file:///srv/backups", True),
        ("off", "s3://bucket", False),
        ("off", "", False),
    ],
)
def test_auto_encrypts_what_lies_in_another_operators_store(
    mode: str, store_url: str, *, wanted: bool
) -> None:
    assert encryption_wanted(EncryptionMode(mode), store_url) is wanted

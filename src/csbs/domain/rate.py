"""Rates, as people write them: ``50MB/s``."""

from __future__ import annotations

import re

from csbs.domain.errors import InvalidRate

_UNITS = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KIB": 1024,
    "MIB": 1024**2,
    "GIB": 1024**3,
}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?I?B)(?:/S)?", re.IGNORECASE)
#: Slower than that, a backup of a running server would never end.
_RATE_MIN = 64 * 1024


def parse_rate(text: str) -> int:
    """Bytes per second.  Raises `InvalidRate`."""
    found = _RATE.fullmatch(text.strip())
    if found is None or found[2].upper() not in _UNITS:
        raise InvalidRate(text, "write it like 50MB/s, 800KB/s or 1.5GiB/s")
    rate = int(float(found[1]) * _UNITS[found[2].upper()])
    if rate < _RATE_MIN:
        raise InvalidRate(text, "it must be at least 64KiB/s")
    return rate

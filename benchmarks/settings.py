"""What can be set, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DISK_SIZE_BYTES = 8 * 1024**3
_UNITS = {"M": 10**6, "G": 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much is measured, and where."""

    #: How often each lane runs (BENCH_ROUNDS).
    rounds: int = 5
    #: Files on the disk (BENCH_SIZE, such as 300M for a quick try).
    size_bytes: int = 2_400_000_000
    #: Increments that age the map of the engine's lanes (BENCH_AGE).
    age: int = 1000
    #: When a run that has not ended gives up (BENCH_MINUTES).
    minutes_max: int = 180
    #: Where it works; removed at the end (BENCH_DIR).
    folder: Path = Path("/var/lib/csbs-bench")
    #: Where RESULTS.md and RESULTS.json go (BENCH_OUT).
    out: Path = Path(__file__).parent


def settings_of(environment: Mapping[str, str]) -> Settings:
    """The settings; what is not set or empty has its default.  Raises `ValueError`."""
    usual = Settings()
    return Settings(
        rounds=int(environment.get("BENCH_ROUNDS") or usual.rounds),
        size_bytes=_size_bytes(environment.get("BENCH_SIZE") or str(usual.size_bytes)),
        age=int(environment.get("BENCH_AGE") or usual.age),
        minutes_max=int(environment.get("BENCH_MINUTES") or usual.minutes_max),
        folder=Path(environment.get("BENCH_DIR") or usual.folder),
        out=Path(environment.get("BENCH_OUT") or usual.out),
    )


def _size_bytes(text: str) -> int:
    return int(text.rstrip("MG")) * _UNITS.get(text[-1], 1)

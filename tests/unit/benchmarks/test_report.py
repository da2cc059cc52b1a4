"""RESULTS.md and RESULTS.json."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.arithmetic import Sample
from benchmarks.report import write_results
from benchmarks.settings import Settings

FACTS = {
    "machine": "a loom",
    "date": "2026-01-31",
    "source_path": "a disk",
    "load at the start": "0",
}
LANES = {
    "zstd": [Sample(seconds=each, stored_bytes=100) for each in (4.0, 5.0, 6.0)],
    "full": [Sample(seconds=each, stored_bytes=120) for each in (2.0, 2.5, 3.0)],
}


def test_the_json_is_flat_and_has_only_what_was_measured(tmp_path: Path) -> None:
    write_results(Settings(out=tmp_path), FACTS, LANES)
    document = json.loads((tmp_path / "RESULTS.json").read_text(encoding="utf-8"))
    assert not [each for each in document.values() if isinstance(each, dict | list)]
    assert (document["machine"], document["full_vs_zstd"], document["spread"]) == ("a loom", 2, 0.4)
    assert document["rounds"] == 3
    assert "guest_p99_ratio" not in document
    assert "full_vs_restic" not in document


def test_the_page_says_what_is_missed_and_what_is_not_measured(tmp_path: Path) -> None:
    write_results(Settings(out=tmp_path), FACTS, LANES)
    lines = (tmp_path / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    (stored,) = [line for line in lines if line.startswith("| `stored_vs_zstd`")]
    assert "at most 1.1 | **missed**" in stored
    (full,) = [line for line in lines if line.startswith("| `full_vs_zstd`")]
    assert "2.00 to 2.00 | at least 1 | met" in full
    assert any("`guest_p99_ratio`: " in line for line in lines)
    assert any(line.startswith("| full | 2.50 | 2.00 to 3.00 | 40% |") for line in lines)

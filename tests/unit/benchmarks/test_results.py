"""When figures are written, and when not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.arithmetic import Sample
from benchmarks.results import Results
from benchmarks.settings import Settings
from benchmarks.source import ImagesDiffer, compare

FACTS = {"machine": "a loom", "date": "", "source_path": "", "load at the start": "0"}


def a_run(out: Path) -> Results:
    return Results(Settings(out=out), facts=dict(FACTS))


def a_round(results: Results) -> None:
    results.keep("full", Sample(seconds=2))
    results.settle()


def interrupted_in_a_round(out: Path, *, after_rounds: int) -> None:
    def measure() -> None:
        results = a_run(out)
        with results.written():
            for _ in range(after_rounds):
                a_round(results)
            results.keep("restore", Sample(seconds=1))  # its image was not compared
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure()


def written_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_run_is_written_at_its_end(tmp_path: Path) -> None:
    results = a_run(tmp_path)
    with results.written():
        a_round(results)
        assert written_in(tmp_path) == []
    assert written_in(tmp_path) == ["RESULTS.json", "RESULTS.md"]


def test_a_run_of_one_group_leaves_the_figures_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "RESULTS.json").write_text("of a whole run")
    results = Results(Settings(out=tmp_path), name="RESULTS-schedule", facts=dict(FACTS))
    with results.written():
        results.keep("schedule", Sample(seconds=2))
        results.settle()

    assert written_in(tmp_path) == ["RESULTS-schedule.json", "RESULTS-schedule.md", "RESULTS.json"]
    assert (tmp_path / "RESULTS.json").read_text() == "of a whole run"


@pytest.mark.host
def test_a_restored_image_that_differs_stops_the_run_and_nothing_is_written(tmp_path: Path) -> None:
    out, source, restored = tmp_path / "out", tmp_path / "source", tmp_path / "restored"
    out.mkdir()
    (out / "RESULTS.json").write_text("of a former run")
    source.write_bytes(b"a" * 4096)
    restored.write_bytes(b"a" * 4095 + b"b")

    def measure() -> None:
        results = a_run(out)
        with results.written():
            a_round(results)
            compare(source, restored, other_format="raw")

    with pytest.raises(ImagesDiffer, match="restored is not as"):
        measure()
    assert written_in(out) == ["RESULTS.json"]
    assert (out / "RESULTS.json").read_text() == "of a former run"


@pytest.mark.host
def test_images_that_read_the_same_are_let_pass(tmp_path: Path) -> None:
    source, sparse = tmp_path / "source", tmp_path / "sparse"
    source.write_bytes(bytes(8192))
    with sparse.open("wb") as file:
        os.truncate(file.fileno(), 8192)
    compare(source, sparse, other_format="raw")


def test_of_a_run_that_fails_whole_rounds_are_kept_apart(tmp_path: Path) -> None:
    interrupted_in_a_round(tmp_path, after_rounds=1)
    assert written_in(tmp_path) == ["RESULTS-unfinished.json", "RESULTS-unfinished.md"]
    assert "restore" not in (tmp_path / "RESULTS-unfinished.json").read_text(encoding="utf-8")
    with a_run(tmp_path).written():
        assert written_in(tmp_path) == []


def test_a_run_that_fails_in_its_first_round_writes_nothing(tmp_path: Path) -> None:
    interrupted_in_a_round(tmp_path, after_rounds=0)
    assert written_in(tmp_path) == []

"""What is measured of a program."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.running import descendants, folder_size, run_measured
from csbs.domain.errors import ToolFailed


def test_processor_time_of_grandchildren_counts(tmp_path: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    through = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    done = run_measured([sys.executable, "-c", through], durable=tmp_path)
    assert done.sample.cpu_seconds >= 0.5
    assert done.sample.seconds > 0


def test_memory_of_children_counts(tmp_path: Path) -> None:
    hold = "held = b'x' * 80_000_000\nimport time\nwhile time.process_time() < 0.7: pass"
    through = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    done = run_measured([sys.executable, "-c", through], durable=tmp_path)
    assert done.sample.peak_pss_bytes > 80_000_000


def test_a_program_that_fails_is_no_sample(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="out of paper"):
        run_measured([sys.executable, "-c", "exit('out of paper')"], durable=tmp_path)


def test_a_family_is_all_generations() -> None:
    assert descendants(2, {2: 1, 3: 2, 4: 3, 5: 1, 6: 5}) == {2, 3, 4}


def test_folders_count_all_files_below(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(5))
    (tmp_path / "c").write_bytes(bytes(2))
    assert folder_size(tmp_path) == 7

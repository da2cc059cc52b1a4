"""What is measured of a program."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.running import descendants, folder_size, run_measured
from csbs.blockio.processes import ProcessRecord
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


def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    hang = "import signal\nsignal.pause()"
    with pytest.raises(ToolFailed):
        run_measured([sys.executable, "-c", hang], durable=tmp_path, timeout_s=0.2)


def test_who_interrupts_ends_the_program_and_its_children(tmp_path: Path) -> None:
    told = tmp_path / "told"
    child = "import signal; signal.pause()"
    program = (
        "import os, pathlib, signal, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        f"pathlib.Path({str(told)!r}).write_text(str(child.pid))\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "signal.pause()"
    )
    with pytest.raises(KeyboardInterrupt):
        run_measured([sys.executable, "-c", program], durable=tmp_path)
    record = ProcessRecord.of(int(told.read_text()))
    assert record is None or record.program != Path(sys.executable).name


def test_a_family_is_all_generations() -> None:
    assert descendants(2, {2: 1, 3: 2, 4: 3, 5: 1, 6: 5}) == {2, 3, 4}


def test_folders_count_all_files_below(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(5))
    (tmp_path / "c").write_bytes(bytes(2))
    assert folder_size(tmp_path) == 7

"""Programs of the host: limits, and records that never meet a stranger."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.blockio.processes import ProcessRecord, end_process, record_process, run_tool
from csbs.domain.errors import ToolFailed


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def _record(process: subprocess.Popen[bytes]) -> ProcessRecord:
    record = ProcessRecord.of(process.pid)
    assert record is not None
    return replace(record, program="sleep")


def test_a_tool_returns_what_it_printed() -> None:
    assert run_tool(["echo", "hello"], doing="x", timeout_s=10) == "hello\n"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["sh", "-c", "echo bad news >&2; exit 3"], "bad news"),
        (["sh", "-c", "exit 3"], "exit code 3"),
        (["csbs-no-such-tool"], "not installed"),
        (["/etc/passwd"], "Permission denied"),
        (["sleep", "60"], "no end within 0.1 s"),
    ],
    ids=["error text", "exit code", "missing", "not executable", "too slow"],
)
def test_a_failed_tool_says_why(command: list[str], why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        run_tool(command, doing="testing", timeout_s=0.1 if "60" in command else 10)


def test_a_recorded_process_is_found_and_ended(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    record_process(sleeper.pid, tmp_path / "record")
    record = ProcessRecord.read(tmp_path / "record", program="sleep")

    assert record is not None
    assert record.is_alive()
    assert end_process(record, timeout_s=10)
    assert not record.is_alive()
    assert not end_process(record, timeout_s=10)


def test_a_process_that_ignores_the_request_is_killed() -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 60 & wait; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        record = ProcessRecord.of(process.pid)
        assert record is not None

        assert end_process(record, timeout_s=0.1)


@pytest.mark.parametrize(
    "changes",
    [{"start_ticks": 1}, {"program": "qemu-nbd"}, {"boot_id": "another boot"}],
    ids=["another start", "another program", "another boot"],
)
def test_a_stranger_with_the_same_id_is_left_alone(
    sleeper: subprocess.Popen[bytes], changes: dict[str, object]
) -> None:
    stranger = replace(_record(sleeper), **changes)  # type: ignore[arg-type]  # fields by name

    assert not end_process(stranger, timeout_s=10)
    assert sleeper.poll() is None


@pytest.mark.parametrize(
    "text", ["", "boot\n", "boot\n12 (sh", "boot\nno number (sh) S", "a\nb\nc"]
)
def test_a_cut_record_names_nobody(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record"
    path.write_text(text)

    assert ProcessRecord.read(path, program="sh") is None
    assert ProcessRecord.read(tmp_path / "missing", program="sh") is None

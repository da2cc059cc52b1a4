"""A command of the caller that reads a server's disks while they are still open."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence

from csbs.compute.base import DiskExport
from csbs.domain.errors import CommandFailed, OperationCancelled
from csbs.workflows.back_up_server import LookOn

#: A server must not keep its job, and the scratch space of it, for ever.
TIMEOUT_S = 3600
_POLL_INTERVAL_S = 0.2
_EXIT_WAIT_S = 5
#: The job is looked at every second.
_CHECK_TURNS = 5
_STANDARD_ERROR = 2


def shell_command(command: str, cancel: threading.Event) -> LookOn:
    """Runs `command` by the shell, with ``CSBS_EXPORT_<DISK>`` set to each disk's NBD URI.

    Raises `CommandFailed` if it fails or takes longer than `TIMEOUT_S`, `OperationCancelled` when
    `cancel` is set meanwhile, and what the job's check raises; then it is ended.
    """

    def look_on(exports: Sequence[DiskExport], check: Callable[[], None]) -> None:
        variables = [f"CSBS_EXPORT_{export.target.upper()}={export.uri}" for export in exports]
        # In a group of its own, so that all that it started ends with it; our own standard
        # output is for the result alone.
        process = subprocess.Popen(
            ["env", *variables, "/bin/sh", "-c", command],
            stdout=_STANDARD_ERROR,
            start_new_session=True,
        )
        try:
            _wait(process, command, cancel, check)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(_EXIT_WAIT_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if process.returncode != 0:
            raise CommandFailed(command, f"exit status {process.returncode}")

    return look_on


def _wait(
    process: subprocess.Popen[bytes],
    command: str,
    cancel: threading.Event,
    check: Callable[[], None],
) -> None:
    for turn in range(int(TIMEOUT_S / _POLL_INTERVAL_S)):
        try:
            process.wait(_POLL_INTERVAL_S)
        except subprocess.TimeoutExpired:
            if cancel.is_set():
                raise OperationCancelled("the backup") from None
            if turn % _CHECK_TURNS == 0:
                check()
        else:
            return
    raise CommandFailed(command, f"no end within {TIMEOUT_S} s")

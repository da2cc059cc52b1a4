"""A libvirtd that answers at qemu:///system, for tests and for the demo.

One that answers is used as it is.  Otherwise one is started: by systemd where PID 1 is systemd,
else libvirtd and virtlogd themselves, with records in a folder, by which a later process (or the
same) ends exactly what was started here.

Where no udev runs either, /dev/kvm may be root's alone.  libvirtd (root) then takes it for usable
and QEMU (another user) does not, so libvirt looks at QEMU's abilities anew for each definition and
start of a server: 5 to 60 s each.  So the device gets the mode that udev gives it, as long as our
libvirtd runs.
"""

from __future__ import annotations

import grp
import logging
import os
import signal
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csbs.blockio.processes import ProcessRecord, end_process, record_process, run_tool
from csbs.domain.errors import ToolFailed

log = logging.getLogger(__name__)

URI = "qemu:///system"
#: Records of what demo, tests and benchmarks start on this host: one may restart what another left.
RECORDS = Path("/run/csbs-libvirt")

#: libvirtd asks QEMU for its abilities at its first start.
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0
_ANSWER_TIMEOUT_S = 20.0
#: In the order of their start: libvirtd hands the logs of its servers to virtlogd.
_DAEMONS = ("virtlogd", "libvirtd")
_BY_SYSTEMD = "started-by-systemd"
_KVM = Path("/dev/kvm")
_KVM_CLOSED_MODE = 0o600
_KVM_OPEN_MODE = 0o660
_KVM_OPENED = "dev-kvm-opened"


def answers() -> bool:
    """Whether libvirt answers at `URI`."""
    try:
        run_tool(["virsh", "-c", URI, "uri"], doing="asking", timeout_s=_ANSWER_TIMEOUT_S)
    except ToolFailed:
        return False
    return True


def libvirtd_pid() -> int:
    """The libvirtd that answers at `URI`: not any other that may run on the machine."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("/run/libvirt/libvirt-sock")
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", peer)[0]
    if pid == 1:  # systemd listens for it
        return int(Path("/run/libvirtd.pid").read_text(encoding="ascii"))
    return pid


def ensure_libvirt(folder: Path = RECORDS) -> bool:
    """Starts libvirt unless it answers already; True if it was started.

    `folder` gets the records for `stop_libvirt`.  Raises `ToolFailed` if it does not come up.
    """
    if answers():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    if Path("/proc/1/comm").read_text(encoding="ascii").strip() == "systemd":
        _systemctl("start")
        (folder / _BY_SYSTEMD).touch()
    else:
        _open_kvm(folder)
        for daemon in _DAEMONS:
            _start(daemon, folder)
    if not answers():
        raise ToolFailed("libvirtd", "starting", f"it runs, and does not answer at {URI}")
    return True


def stop_libvirt(folder: Path = RECORDS) -> list[str]:
    """Ends what `ensure_libvirt` started with this folder, and says what that was.

    Servers that run are not touched.
    """
    ended = []
    if (folder / _BY_SYSTEMD).exists():
        _systemctl("stop")
        (folder / _BY_SYSTEMD).unlink()
        ended.append("libvirtd (systemd)")
    for daemon in reversed(_DAEMONS):
        path = _record_path(folder, daemon)
        record = ProcessRecord.read(path, program=daemon)
        if record is not None and end_process(record, timeout_s=_STOP_TIMEOUT_S):
            ended.append(f"{daemon} (process {record.pid})")
        path.unlink(missing_ok=True)
    _close_kvm(folder)
    return ended


def restart_libvirtd(folder: Path = RECORDS) -> None:
    """Ends libvirtd and starts it again, as an update of its package does; servers go on.

    Raises `ToolFailed` if it was not started by `ensure_libvirt` with this folder.
    """
    record = own_libvirtd(folder)
    if (folder / _BY_SYSTEMD).exists():
        _systemctl("restart")
    else:
        end_process(record, timeout_s=_STOP_TIMEOUT_S)
        _start("libvirtd", folder)
    if not answers():
        raise ToolFailed("libvirtd", "restarting", f"it runs, and does not answer at {URI}")


@contextmanager
def libvirtd_hanging(folder: Path = RECORDS) -> Iterator[None]:
    """Libvirtd answers nobody during the body.  Raises as `restart_libvirtd` does."""
    descriptor = os.pidfd_open(own_libvirtd(folder).pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGSTOP)
        yield
    finally:
        signal.pidfd_send_signal(descriptor, signal.SIGCONT)
        os.close(descriptor)


def own_libvirtd(folder: Path = RECORDS) -> ProcessRecord:
    """The libvirtd that was started with this folder.

    Raises `ToolFailed`, which says what to do, if the one that answers is another.
    """
    record: ProcessRecord | None
    if (folder / _BY_SYSTEMD).exists():
        shown = run_tool(
            ["systemctl", "show", "--property=MainPID", "--value", "libvirtd"],
            doing="asking for libvirtd's process",
            timeout_s=_ANSWER_TIMEOUT_S,
        )
        record = ProcessRecord.of(int(shown))
    else:
        record = ProcessRecord.read(_record_path(folder, "libvirtd"), program="libvirtd")
    if record is None or not record.is_alive():
        raise ToolFailed(
            "libvirtd",
            "restarting",
            "this one was not started here, and others may need it: stop libvirtd and its sockets "
            "(systemctl stop libvirtd.socket libvirtd), then a libvirtd is started for this alone",
        )
    return record


@contextmanager
def libvirt_running(folder: Path = RECORDS) -> Iterator[str]:
    """Libvirt answers during the body; yields its URI, and ends what it started itself."""
    started = ensure_libvirt(folder)
    try:
        yield URI
    finally:
        if started:
            stop_libvirt(folder)


def _start(daemon: str, folder: Path) -> None:
    pid_file = folder / f"{daemon}.pid"
    pid_file.unlink(missing_ok=True)
    try:
        run_tool(
            [daemon, "-d", "-p", str(pid_file)],
            doing="starting",
            timeout_s=_START_TIMEOUT_S,
        )
    except ToolFailed as error:
        # Somebody else's may run already: whether libvirt answers is seen at the end.
        log.warning("a daemon was not started", extra={"daemon": daemon, "why": str(error)})
        return
    record_process(int(pid_file.read_text(encoding="ascii")), _record_path(folder, daemon))


def _open_kvm(folder: Path) -> None:
    if not _KVM.is_char_device() or stat.S_IMODE(_KVM.stat().st_mode) != _KVM_CLOSED_MODE:
        return
    try:
        group = grp.getgrnam("kvm").gr_gid
    except KeyError:
        return
    (folder / _KVM_OPENED).touch()
    os.chown(_KVM, -1, group)
    _KVM.chmod(_KVM_OPEN_MODE)


def _close_kvm(folder: Path) -> None:
    if (folder / _KVM_OPENED).exists():
        _KVM.chmod(_KVM_CLOSED_MODE)
        os.chown(_KVM, -1, 0)
        (folder / _KVM_OPENED).unlink()


def _record_path(folder: Path, daemon: str) -> Path:
    return folder / f"{daemon}.record"


def _systemctl(verb: str) -> None:
    run_tool(
        ["systemctl", verb, "libvirtd"], doing=f"{verb} of libvirtd", timeout_s=_START_TIMEOUT_S
    )

"""What of the host fits, for `csbs doctor`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from csbs.blockio.processes import run_tool
from csbs.compute.base import HostCheck
from csbs.compute.libvirt.binding import is_installed
from csbs.compute.libvirt.connection import Connection
from csbs.compute.libvirt.domain_xml import has_incremental_backup
from csbs.compute.libvirt.folders import HostFolders, QemuUser, closed_to
from csbs.domain.errors import CsbsError, HypervisorDenied, ToolFailed

#: From this version on incremental backup is on by default.
_LIBVIRT_MIN = (7, 6, 0)
#: libvirt's incremental backup needs what QEMU has since then.
_QEMU_MIN = (5, 2, 0)
#: A busy server overwrites that much while it is backed up.
_SCRATCH_FREE_MIN_BYTES = 1024**3
_TOOL_TIMEOUT_S = 10.0


def host_checks(
    connection: Connection, folders: HostFolders, qemu_user: Callable[[], QemuUser]
) -> list[HostCheck]:
    """See `ComputeDriver.host_checks`; `qemu_user` asks libvirt whom QEMU runs as."""
    checks = [_check_module(), *(_check_tool(tool) for tool in ("qemu-img", "qemu-nbd"))]
    libvirt_checks = list(_check_libvirt(connection))
    checks += libvirt_checks
    try:
        qemu = qemu_user()
    except CsbsError:  # told by the checks of libvirt
        qemu = QemuUser(0, 0)
    checks.append(_check_folder("run folder", folders.run, "CSBS_RUN_DIR", qemu))
    checks.append(_check_folder("scratch folder", folders.scratch, "CSBS_SCRATCH_DIR", qemu))
    checks.append(_check_scratch_space(folders.scratch))
    return checks


def _check_module() -> HostCheck:
    return HostCheck(
        name="Python module libvirt",
        ok=is_installed(),
        found="there" if is_installed() else "missing",
        advice="" if is_installed() else "install python3-libvirt, then run `make setup` again",
    )


def _check_tool(tool: str) -> HostCheck:
    try:
        version = run_tool([tool, "--version"], doing="asking", timeout_s=_TOOL_TIMEOUT_S)
    except ToolFailed as error:
        return HostCheck(name=tool, ok=False, found=error.why, advice="install qemu-utils")
    return HostCheck(name=tool, ok=True, found=version.splitlines()[0])


def _check_libvirt(connection: Connection) -> Iterator[HostCheck]:
    try:
        libvirt_number, qemu_number, capabilities = connection.call(
            "asking for versions",
            lambda opened: (
                opened.getLibVersion(),
                opened.getVersion(),
                opened.getDomainCapabilities(None, None, None, None),
            ),
        )
    except CsbsError as error:
        denied = isinstance(error, HypervisorDenied)
        yield HostCheck(
            name="libvirt",
            ok=False,
            found=str(error),
            advice="run csbs as root, or add this user to the group libvirt"
            if denied
            else "install libvirt-daemon-system and start libvirtd, or set CSBS_LIBVIRT_URI",
        )
        return
    yield HostCheck(name="libvirt", ok=True, found=f"answers at {connection.uri}")
    yield _check_version("libvirt version", libvirt_number, _LIBVIRT_MIN)
    yield _check_version("QEMU version", qemu_number, _QEMU_MIN)
    able = has_incremental_backup(capabilities)
    yield HostCheck(
        name="incremental backup",
        ok=able,
        found="supported" if able else "libvirt says that it is not supported",
        advice="" if able else "install newer versions of libvirt and QEMU",
    )


def _check_version(name: str, number: int, least: tuple[int, int, int]) -> HostCheck:
    """Libvirt counts a version as one number: 7.6.0 is 7006000."""
    version = (number // 1_000_000, number // 1_000 % 1_000, number % 1_000)
    ok = version >= least
    return HostCheck(
        name=name,
        ok=ok,
        found=_dotted(version),
        advice="" if ok else f"csbs needs {_dotted(least)} or newer",
    )


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(str(part) for part in version)


def _check_folder(name: str, folder: Path, setting: str, qemu: QemuUser) -> HostCheck:
    existing = _existing(folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        return HostCheck(
            name=name,
            ok=False,
            found=f"no right to write to {existing}",
            advice=f"run csbs as root, or set {setting} to another folder",
        )
    closed = closed_to(qemu, folder)
    if closed is not None:
        return HostCheck(
            name=name,
            ok=False,
            found=f"QEMU's user cannot enter {closed}",
            advice=f"chmod o+x {closed}, or set {setting} to another folder",
        )
    return HostCheck(name=name, ok=True, found=str(folder))


def _check_scratch_space(folder: Path) -> HostCheck:
    free_bytes = shutil.disk_usage(_existing(folder)).free
    ok = free_bytes >= _SCRATCH_FREE_MIN_BYTES
    return HostCheck(
        name="scratch space",
        ok=ok,
        found=f"{free_bytes / 1024**3:.1f} GiB free in {folder}",
        advice=""
        if ok
        else "free some, or set CSBS_SCRATCH_DIR: a server that is backed up is paused when it "
        "is full",
        required=False,
    )


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())

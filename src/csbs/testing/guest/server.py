"""A server of libvirt made from the guest's image: two disks, an agent, no network, no KVM."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csbs.blockio.processes import run_tool
from csbs.domain.errors import ToolFailed
from csbs.testing.guest.image import GuestImage
from csbs.testing.guest.shell import GuestShell

_TOOL_TIMEOUT_S = 120.0
#: QEMU's user must be able to come here.
_FOLDER_MODE = 0o755
_MEMORY_MIB = 768
#: `mitigations`, `nokaslr`: what they cost without KVM is seconds of each boot.
_KERNEL_OPTIONS = (
    "root=/dev/vda rw rootfstype=ext4 console=ttyS0 quiet systemd.show_status=0 "
    "mitigations=off nokaslr audit=0 apparmor=0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestServer:
    """A defined server; its files lie in `folder`."""

    name: str
    folder: Path
    uri: str

    @staticmethod
    def create(image: GuestImage, name: str, folder: Path, uri: str) -> GuestServer:
        """Defines a stopped server with copies of the image's disks in the new folder `folder`.

        `remove_server` undoes it, also after this was killed half-way.  Raises `ToolFailed`.
        """
        server = GuestServer(name=name, folder=folder, uri=uri)
        folder.mkdir(parents=True)
        folder.chmod(_FOLDER_MODE)
        for file in (image.system, image.data, image.kernel, image.initrd):
            run_tool(
                ["cp", "--reflink=auto", "--sparse=always", str(file), str(folder / file.name)],
                doing=f"copying {file}",
                timeout_s=_TOOL_TIMEOUT_S,
            )
        definition = folder / "domain.xml"
        definition.write_text(_domain_xml(name, GuestImage(folder)), encoding="utf-8")
        _virsh(uri, "define", str(definition))
        return server

    @property
    def disks(self) -> dict[str, Path]:
        """Its images (qcow2), by target."""
        files = GuestImage(self.folder)
        return {"vda": files.system, "vdb": files.data}

    @property
    def shell(self) -> GuestShell:
        """Runs commands inside it."""
        return GuestShell(domain=self.name, uri=self.uri)

    @property
    def console_log(self) -> Path:
        """What the guest wrote to its serial console."""
        return self.folder / "console.log"


def remove_server(name: str, folder: Path, uri: str) -> None:
    """Ends and undefines the server `name` with its checkpoints, and removes its folder.

    What is not there is fine.
    """
    with suppress(ToolFailed):  # it does not run
        _virsh(uri, "destroy", name)
    if name in _virsh(uri, "list", "--all", "--name").split():
        _virsh(uri, "undefine", name, "--managed-save", "--checkpoints-metadata")
    shutil.rmtree(folder, ignore_errors=True)


def servers_named(prefix: str, uri: str) -> list[str]:
    """Names of all servers of this host that begin so."""
    names = _virsh(uri, "list", "--all", "--name").split()
    return [name for name in names if name.startswith(prefix)]


def _virsh(uri: str, verb: str, *arguments: str) -> str:
    return run_tool(
        ["virsh", "-q", "-c", uri, verb, *arguments],
        doing=f"{verb} {arguments[0]}",
        timeout_s=_TOOL_TIMEOUT_S,
    )


def _domain_xml(name: str, files: GuestImage) -> str:
    disks = "".join(
        f"""
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='{path}'/>
      <target dev='{target}' bus='virtio'/>
    </disk>"""
        for target, path in (("vda", files.system), ("vdb", files.data))
    )
    return f"""<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>{_MEMORY_MIB}</memory>
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{files.kernel}</kernel>
    <initrd>{files.initrd}</initrd>
    <cmdline>{_KERNEL_OPTIONS}</cmdline>
  </os>
  <features><acpi/></features>
  <on_reboot>destroy</on_reboot>
  <devices>{disks}
    <controller type='usb' model='none'/>
    <serial type='file'><source path='{files.folder}/console.log'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
</domain>
"""

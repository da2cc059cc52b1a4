"""What lies beside exported images, for whoever finds them: pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from csbs.services.exports import ExportDone


def export_note(done: ExportDone) -> str:
    """What the files are, and how a server is made of them."""
    backup = done.backup
    lines = [
        f"Server {backup.server_name} as it was at {backup.created_at.isoformat()}.",
        "",
        "Exported by csbs.",
        f"backup       {backup.name} ({backup.id})",
        f"server id    {backup.server_id}",
        f"consistency  {backup.consistency_reached}",
        "",
        "Disks:",
        *(
            f"  {each.path.name}  {each.disk.target}, {each.disk.size_bytes} bytes"
            f"{', boots' if each.disk.bootable else ''}"
            for each in done.disks
        ),
        "",
        *_lost(done),
    ]
    return "\n".join([*lines, *(_how_to_run(done) if done.definition else _how_to_use())]) + "\n"


def _lost(done: ExportDone) -> list[str]:
    """What zeroes stand for; the exit code of the export is forgotten, the file is not."""
    lines = [
        f"  {each.path.name}  offset {offset_bytes}, length {size_bytes}"
        for each in done.disks
        for offset_bytes, size_bytes in each.holes
    ]
    return (
        ["The backup is damaged. What is lost of it is zeroes here:", *lines, ""] if lines else []
    )


def _how_to_run(done: ExportDone) -> list[str]:
    name = done.definition.name if done.definition else ""
    return [
        f"{name} is the definition of the server. Its disks are these files:",
        "",
        f"  virsh define {done.definition}",
        f"  virsh start {done.backup.server_name}",
        "",
        "If you move the files, change the paths in its <source> elements. QEMU's user must be",
        "able to enter the folder. CD-ROMs, networks and other devices are as they were: what this",
        "host does not have must be taken out (virsh edit). On a host that still has the server,",
        "`virsh define` would give that one these disks: to have both, take <uuid> out and change",
        "<name> and the MAC addresses.",
    ]


def _how_to_use() -> list[str]:
    return ["Single disks: attach them to a server, or look into them with qemu-nbd."]

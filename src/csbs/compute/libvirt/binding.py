"""The modules `libvirt` and `libvirt_qemu`, where they are installed.

They come from Debian's python3-libvirt, not from a Python package, so they can be absent: that is
a finding of `csbs doctor`, and no reason for `csbs --help` to fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import libvirt
    import libvirt_qemu
else:
    try:
        import libvirt
        import libvirt_qemu
    except ModuleNotFoundError:
        libvirt = libvirt_qemu = None
    else:
        # libvirt would print each error; ours carry them.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)

__all__ = ["is_installed", "libvirt", "libvirt_qemu"]


def is_installed() -> bool:
    """Whether the modules are there; without them no other name of this module may be used."""
    installed: bool = libvirt is not None
    return installed

"""Servers of QEMU/KVM, by libvirt."""

from csbs.compute.libvirt.driver import DriverOptions, LibvirtDriver
from csbs.compute.libvirt.guard import ScratchLimits

__all__ = ["DriverOptions", "LibvirtDriver", "ScratchLimits"]

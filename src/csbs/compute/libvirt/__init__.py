"""Servers of QEMU/KVM, by libvirt."""

from csbs.compute.libvirt.driver import DriverOptions, LibvirtDriver

__all__ = ["DriverOptions", "LibvirtDriver"]

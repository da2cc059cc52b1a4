"""A real guest for tests and for the demo: Debian with MariaDB, on two disks, without KVM."""

from csbs.testing.guest.image import GuestImage, cache_folder, clear_cache, ensure_image
from csbs.testing.guest.server import GuestServer, remove_server
from csbs.testing.guest.shell import GuestShell
from csbs.testing.guest.workload import Progress, Workload, WorkloadDamaged
from csbs.testing.guest.writer import GuestWriter

__all__ = [
    "GuestImage",
    "GuestServer",
    "GuestShell",
    "GuestWriter",
    "Progress",
    "Workload",
    "WorkloadDamaged",
    "cache_folder",
    "clear_cache",
    "ensure_image",
    "remove_server",
]

"""Where the demo works, and how its leftovers are cleared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from csbs.compute.libvirt.clean_up import end_recorded
from csbs.domain.ids import ServerId
from csbs.testing.guest import clear_cache, remove_server
from csbs.testing.guest.server import servers_named
from csbs.testing.libvirt_daemon import URI, answers, stop_libvirt
from demo.command import CsbsCommand

#: Servers of any other name are never touched.
PREFIX = "csbs-demo-"
HOME = Path("/var/lib/csbs-demo")
RUN = Path("/run/csbs-demo")
#: Records of the daemons that were started; they outlive a run.


def command() -> CsbsCommand:
    """The `csbs` of the demo."""
    return CsbsCommand(data_dir=HOME / "data", run_dir=RUN, scratch_dir=HOME / "scratch")


def clear() -> list[str]:
    """Removes servers, disks and backups of an earlier run, and says which; libvirt must answer."""
    cleared = end_recorded(ServerId("of the demo"), list(RUN.rglob("*.pid")))
    for name in servers_named(PREFIX, URI):
        remove_server(name, HOME / name, URI)
        cleared.append(f"server {name}")
    for folder in (HOME, RUN):
        if folder.exists():
            shutil.rmtree(folder)
            cleared.append(str(folder))
    return cleared


def clean(cache: Path, say: Callable[[str], None]) -> None:
    """Removes all that the demo made; Debian packages stay."""
    if answers():
        for what in clear():
            say(f"removed {what}")
    clear_cache(cache)
    say(f"removed the guest's images in {cache}")
    for daemon in stop_libvirt():
        say(f"ended {daemon}")
    say("Debian packages and .venv stay")

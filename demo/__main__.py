"""`make demo` and `make demo-clean`."""

from __future__ import annotations

import os
import sys

from csbs.domain.clock import monotonic
from csbs.domain.errors import CsbsError
from csbs.testing.guest import cache_folder, ensure_image
from csbs.testing.libvirt_daemon import URI, ensure_libvirt
from demo.place import HOME, clean, clear
from demo.report import Report
from demo.story import Story


def main(arguments: list[str]) -> int:
    """Runs the demo, or removes what it made (`clean`); returns the exit code."""
    cache = cache_folder(os.environ)
    if os.geteuid() != 0:
        print("demo: FAILED: it defines a server and builds a guest: run it as root")
        return 1
    try:
        if arguments == ["clean"]:
            clean(cache, print)
            return 0
        _run()
    except CsbsError as error:
        print(f"demo: FAILED: {error}", flush=True)
        return 1
    return 0


def _run() -> None:
    began = monotonic()
    report = Report()
    with report.step(f"reach libvirt at {URI}"):
        started = ensure_libvirt()
        print("  started libvirtd and virtlogd" if started else "  it answers", flush=True)
        for what in clear():
            print(f"  cleared what an earlier run left: {what}", flush=True)
    with report.step("have the guest's image"):
        image = ensure_image(cache_folder(os.environ), print)
    Story(image, report).tell()
    report.show()
    print(
        f"\nLook around: .venv/bin/csbs --data-dir {HOME / 'data'} backup list\n"
        "`make demo-clean` removes it all.\n\n"
        f"demo: OK ({monotonic() - began:.0f} s)",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

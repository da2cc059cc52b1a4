"""All that decides what the guest's image is: packages, settings, sizes.

The packages come from the Debian mirrors that the machine itself is set to; nothing else of the
machine decides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from csbs.blockio.processes import run_tool
from csbs.domain.errors import ToolFailed

SUITE = "bookworm"
PACKAGES = (
    "linux-image-cloud-amd64",
    "systemd-sysv",
    "udev",
    "dbus",  # without it the agent cannot shut the guest down
    "qemu-guest-agent",
    "mariadb-server",
)
#: Half of it is used; what is free shows that holes cost nothing.
SYSTEM_SIZE_BYTES = 1 << 30
DATA_SIZE_BYTES = 512 << 20

_CUSTOMIZE = Path(__file__).parent / "customize.sh"
_OPTIONS = (
    "--mode=root",
    "--variant=minbase",
    "--format=directory",
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    f"--include={','.join(PACKAGES)}",
)
#: Part of the hash: to be counted up when `image.py` makes something else of the root.
_LAYOUT = 1

#: What the build takes over from the machine's apt: how mirrors are reached, and how their lists
#: are checked.
_APT_OPTIONS = ("Acquire::http", "Acquire::https", "Acquire::Check")
_QUERY_TIMEOUT_S = 30.0


def recipe_hash() -> str:
    """Names the image: another recipe, another name."""
    sizes = [SYSTEM_SIZE_BYTES, DATA_SIZE_BYTES]
    facts = json.dumps([SUITE, _OPTIONS, sizes, _LAYOUT, _CUSTOMIZE.read_text(encoding="utf-8")])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def build_command(root: Path, sources: Path) -> list[str]:
    """Makes the guest's root in the folder `root`, from the mirrors in the file `sources`.

    It runs in name spaces of its own: if it is killed, its processes and mounts go with it.
    """
    return [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        "mmdebstrap",
        *_OPTIONS,
        *(f"--aptopt={option}" for option in _apt_options()),
        f"--customize-hook={_CUSTOMIZE}",
        SUITE,
        str(root),
        str(sources),
    ]


def apt_sources() -> str:
    """The machine's own mirrors of this suite, as lines of a sources.list.

    Raises `ToolFailed` if apt knows none.
    """
    lines = run_tool(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
            "Identifier: Packages",
        ],
        doing="listing mirrors",
        timeout_s=_QUERY_TIMEOUT_S,
    ).splitlines()
    found = debian_sources(lines)
    if not found:
        raise ToolFailed("apt-get", "listing mirrors", f"/etc/apt has none of Debian {SUITE}")
    return "".join(f"{line}\n" for line in found)


def debian_sources(targets: Sequence[str]) -> list[str]:
    """Lines `<mirror> <suite> <component> <origin>` of apt, as one source for each of ours.

    The origin is known only where lists were fetched; without it the names must do.
    """
    suites = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
    found: dict[str, None] = {}
    for target in targets:
        uri, suite, component, origin = target.split(maxsplit=3)
        if suite in suites and component == "main" and origin in {"Debian", "$(ORIGIN)"}:
            found[f"deb {uri} {suite} main"] = None
    return list(found)


def _apt_options() -> list[str]:
    lines = run_tool(
        ["apt-config", "dump", "--no-empty", "--format", '%f "%v";%n', "Acquire"],
        doing="listing settings",
        timeout_s=_QUERY_TIMEOUT_S,
    ).splitlines()
    return [line for line in lines if line.startswith(_APT_OPTIONS)]

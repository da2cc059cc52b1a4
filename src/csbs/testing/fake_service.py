"""`csbs serve` over a fake host that is kept in a folder; for tests that kill it.

    python -m csbs.testing.fake_service HOST_FOLDER

Settings come from the environment.  All but the servers is real: sockets, signals, the durable
runner.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from csbs.config import load_settings
from csbs.service import Substitutes, open_service
from csbs.serving import run_service
from csbs.testing.kept_host import kept_host
from csbs.testing.live_api import FastHasher


def main() -> None:
    """Serves until it is stopped."""
    driver = kept_host(Path(sys.argv[1]))
    opening = partial(open_service, substitutes=Substitutes(driver=driver, hasher=FastHasher()))
    run_service(load_settings(None), _say, opening)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

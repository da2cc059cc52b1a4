"""Where the tests of whole workflows work: in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

#: Each step syncs the catalog and the store.  No test here can tell whether that reached a disk,
#: and waiting for a busy one took most of their time.
_MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with TemporaryDirectory(prefix="csbs-test-", dir=_MEMORY) as folder:
        yield Path(folder)

"""The repository's lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from csbs.domain.errors import FolderUnusable
from csbs.repository import repository_lock
from csbs.repository.errors import RepositoryLocked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "repository.lock"


def test_readers_and_writers_share_it(path: Path) -> None:
    with (
        repository_lock(path, "file:///srv").shared("backup of a"),
        repository_lock(path, "file:///srv").shared("backup of b"),
    ):
        pass


@pytest.mark.parametrize("holder", ["shared", "exclusive"])
def test_a_collection_excludes_all_else_and_says_what_is_at_work(path: Path, holder: str) -> None:
    one, other = repository_lock(path, "file:///srv"), repository_lock(path, "file:///srv")
    held = one.shared("backup of web") if holder == "shared" else one.exclusive("collection")
    refused = other.exclusive("x") if holder == "shared" else other.shared("x")

    doing = "backup of web" if holder == "shared" else "collection"
    with held, pytest.raises(RepositoryLocked, match=rf"{doing} \(process \d+\)"), refused:
        pass
    with other.exclusive("x"):
        pass


def test_it_is_free_after_an_error(path: Path) -> None:
    with pytest.raises(KeyError), repository_lock(path, "file:///srv").exclusive("x"):
        raise KeyError
    with repository_lock(path, "file:///srv").exclusive("x"):
        pass


def test_it_is_free_when_its_holder_was_killed(path: Path) -> None:
    script = (
        "import sys, pathlib; from csbs.repository import repository_lock\n"
        "lock = repository_lock(pathlib.Path(sys.argv[1]), 'file:///srv')\n"
        "with lock.exclusive('restore of web'):\n"
        "    sys.stdout.write('held\\n'); sys.stdout.flush(); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with (
            pytest.raises(RepositoryLocked, match=f"restore of web .process {process.pid}"),
            repository_lock(path, "file:///srv").shared("x"),
        ):
            pass
        process.kill()
        process.wait(timeout=30)
    with repository_lock(path, "file:///srv").exclusive("x"):
        pass


def test_a_place_that_cannot_be_used_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with (
        pytest.raises(FolderUnusable),
        repository_lock(tmp_path / "file" / "lock", "file:///srv").shared("x"),
    ):
        pass

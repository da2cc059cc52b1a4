"""`csbs repository init`, `show` and `copy`, with stores in S3 and in folders."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from csbs.app import open_app
from csbs.compute.base import never
from csbs.config import load_settings
from csbs.domain.clock import new_id, utc_now
from csbs.domain.extents import BLOCK_SIZE
from csbs.testing.repositories import noise, restored, write_image
from csbs.testing.seaweedfs import READER, WRITER, SeaweedFS
from tests.integration.libvirt.shell import Shell

DATA = noise(1, 3 * BLOCK_SIZE)


@pytest.fixture
def csbs(
    tmp_path: Path,
    seaweedfs: SeaweedFS,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    monkeypatch.setenv("CSBS_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("CSBS_STORE_URL", seaweedfs.url(f"commands/{uuid4()}"))
    monkeypatch.setenv("CSBS_S3_ACCESS_KEY_ID", WRITER.access_key_id)
    monkeypatch.setenv("CSBS_S3_SECRET_ACCESS_KEY", WRITER.secret_access_key)
    return Shell(tmp_path / "data", capsys)


def back_up(csbs: Shell) -> str:
    """The manifest's key of a backup of `DATA`."""
    with (
        open_app(load_settings(csbs.data_dir)) as app,
        app.repositories.writing("a backup", cancelled=never) as (repository, index),
    ):
        writer = repository.begin(new_id(), started_at=utc_now(), index=index)
        blocks = {n: DATA[n * BLOCK_SIZE : (n + 1) * BLOCK_SIZE] for n in range(3)}
        write_image(writer, len(DATA), blocks)
        return writer.commit(created_at=utc_now(), facts={}).key


def content(csbs: Shell, key: str) -> bytes:
    """What the store of the settings has for the backup."""
    with (
        open_app(load_settings(csbs.data_dir)) as app,
        app.repositories.shared("a restore") as repository,
    ):
        return restored(repository, repository.manifest(key).images[0])


def test_a_repository_is_made_once_and_shown(csbs: Shell) -> None:
    missing = csbs("repository", "show", "--json")
    made = csbs.ok("repository", "init")
    back_up(csbs)
    again = csbs.ok("repository", "init")

    assert (missing.code, missing.error["kind"]) == (3, "not_found")
    assert "csbs repository init" in missing.error["message"]
    assert made["backups"] == made["packs"] == made["stored_bytes"] == 0
    assert again["id"] == made["id"]
    assert (again["backups"], again["packs"]) == (1, 2)
    assert again["stored_bytes"] > len(DATA)
    assert again["place"].startswith("s3://backups/commands/")
    assert "1 backups" in csbs("repository", "show").out


@pytest.mark.parametrize("to", ["s3", "folder"])
def test_a_copy_elsewhere_is_used_in_the_place_of_the_store(
    csbs: Shell,
    seaweedfs: SeaweedFS,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    to: str,
) -> None:
    url = f"file://{tmp_path / 'copy'}" if to == "folder" else seaweedfs.url(f"copy/{uuid4()}")
    key = back_up(csbs)
    first = csbs.ok("repository", "copy", url)
    second = csbs.ok("repository", "copy", url)
    shown = csbs.ok("repository", "show")
    monkeypatch.setenv("CSBS_STORE_URL", url)

    # Config, key ring and owner with their twins, two packs, manifest.
    assert first["copied_objects"] == second["present_objects"] == 9
    assert second["copied_objects"] == 0
    assert {**csbs.ok("repository", "show"), "place": ""} == {**shown, "place": ""}
    assert content(csbs, key) == DATA


def test_the_target_has_keys_of_its_own(
    csbs: Shell, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(csbs)
    monkeypatch.setenv("CSBS_COPY_S3_ACCESS_KEY_ID", READER.access_key_id)
    monkeypatch.setenv("CSBS_COPY_S3_SECRET_ACCESS_KEY", READER.secret_access_key)
    denied = csbs("repository", "copy", seaweedfs.url("denied"), "--json")

    assert (denied.code, denied.error["kind"]) == (6, "denied")
    assert "s3://backups/denied" in denied.error["message"]


def test_an_address_that_names_no_store_is_invalid(csbs: Shell) -> None:
    result = csbs("repository", "copy", "ftp://host/x", "--json")

    assert (result.code, result.error["kind"]) == (2, "invalid")


def test_a_copy_beside_a_collection_is_refused(csbs: Shell, tmp_path: Path) -> None:
    back_up(csbs)
    with (
        open_app(load_settings(csbs.data_dir)) as app,
        app.repositories.lock.exclusive("collection"),
    ):
        result = csbs("repository", "copy", f"file://{tmp_path / 'copy'}", "--json")

    assert (result.code, result.error["kind"]) == (4, "busy")

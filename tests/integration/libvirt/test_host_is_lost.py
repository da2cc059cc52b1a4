"""The worst days: the catalog is lost, the host is lost, and the lost host comes back."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_domains import DomainServer
from tests.integration.libvirt.shell import Shell, contents

pytestmark = pytest.mark.host


@pytest.fixture
def csbs(csbs: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Its store is not in the data folder."""
    monkeypatch.setenv("CSBS_STORE_URL", f"file://{tmp_path / 'store'}")
    return csbs


def two_backups(csbs: Shell, server: DomainServer) -> None:
    csbs.ok("backup", "create", server.name, "--name", "first")
    server.write("vda", offset=3 * MIB, size=MIB, pattern=4)
    csbs.ok("backup", "create", server.name, "--name", "second")


def lose(server: DomainServer) -> None:
    """Neither the server nor its disks are there any more."""
    server.virsh("undefine", "--checkpoints-metadata")
    for target in server.disks:
        server.path(target).unlink()


def test_a_lost_catalog_is_rebuilt_by_one_command(csbs: Shell, server: DomainServer) -> None:
    two_backups(csbs, server)
    csbs.ok("backup", "delete", "first", "--yes")
    before = csbs.ok("backup", "list")
    for path in (*csbs.data_dir.glob("catalog.sqlite*"), csbs.data_dir / "index"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    rebuilt = csbs.ok("repository", "rebuild-catalog")
    after = csbs.ok("backup", "list")
    server.write("vdb", offset=0, size=65536, pattern=5)
    third = csbs.ok("backup", "create", server.name)
    csbs.ok("server", "stop", server.name)
    expected = contents(server)
    server.write("vdb", offset=0, size=MIB, pattern=6)
    csbs.ok("restore", third["id"], "--yes", "--no-start")

    assert rebuilt == {
        "owned": True,
        "backups": 1,
        "servers": 1,
        "damaged": [],
        "uncounted": [],
        "forgotten": [],
    }
    assert after == before
    assert [disk["mode"] for disk in third["disks"]] == ["incremental", "incremental", "rescan"]
    assert contents(server) == expected


@pytest.mark.parametrize("image_format", ["qcow2", "raw"])
def test_a_lost_host_is_made_again_elsewhere_and_stops_when_it_comes_back(
    csbs: Shell, server: DomainServer, tmp_path: Path, image_format: str
) -> None:
    two_backups(csbs, server)
    listed = csbs.ok("backup", "list")
    server.power_off()
    expected = contents(server)
    lose(server)
    elsewhere = replace(csbs, data_dir=tmp_path / "elsewhere")
    rebuilt = elsewhere.ok("repository", "rebuild-catalog", "--take-over")
    output = server.folder / "exported"
    export = ["backup", "export", "second", "--output", str(output), "--format", image_format]
    exported = elsewhere.ok(*export)
    files = {disk["target"]: Path(disk["file"]) for disk in exported["disks"]}
    made = {target: path.read_bytes() for target, path in files.items()}
    server.moved = files
    server.disks = {
        target: replace(disk, format=image_format) for target, disk in server.disks.items()
    }
    subprocess.run(
        ["virsh", "-c", "qemu:///system", "define", exported["definition"]],
        check=True,
        capture_output=True,
    )
    restored = contents(server)
    server.start()

    assert (rebuilt["owned"], rebuilt["backups"]) == (True, 2)
    assert elsewhere.ok("backup", "list") == listed
    assert restored == expected
    assert (made == expected) is (image_format == "raw")
    assert server.is_active()

    server.write("vda", offset=MIB, size=65536, pattern=7)
    again = elsewhere.ok("backup", "create", server.name)
    assert {disk["mode"] for disk in again["disks"]} == {"full"}  # its images lie elsewhere
    assert again["stored_bytes"] < 100_000  # all but what was written is known

    refused = csbs("backup", "create", server.name, "--json")  # the old host
    assert (refused.code, refused.error["kind"]) == (5, "refused")
    assert "belongs to another data folder" in refused.error["message"]
    assert csbs("backup", "delete", "first", "--yes").code == 5
    assert csbs("repository", "collect").code == 5
    assert csbs.ok("backup", "list") == listed
    assert elsewhere.ok("repository", "collect")["packs_deleted"] == 0
    assert len(elsewhere.ok("backup", "list")["backups"]) == 3


def test_a_foreign_repository_may_be_read(
    csbs: Shell, server: DomainServer, tmp_path: Path
) -> None:
    two_backups(csbs, server)
    csbs.ok("server", "stop", server.name)
    expected = contents(server)
    reader = replace(csbs, data_dir=tmp_path / "reader")
    told = reader("repository", "rebuild-catalog")
    server.write("vda", offset=0, size=4 * MIB, pattern=9)
    reader.ok("restore", "second", "--yes", "--no-start")
    exported = reader.ok(
        "backup", "export", "second", "--output", str(tmp_path / "out"), "--disk", "vdc"
    )

    assert told.code == 0
    assert "may list, restore and export" in told.out
    assert contents(server) == expected
    assert exported["definition"] is None
    assert reader("backup", "create", server.name).code == 5
    third = csbs.ok("backup", "create", server.name)
    assert [disk["mode"] for disk in third["disks"]] == ["incremental", "incremental", "rescan"]


def test_damage_and_missing_repositories_have_their_exit_codes(
    csbs: Shell, server: DomainServer, tmp_path: Path
) -> None:
    elsewhere = replace(csbs, data_dir=tmp_path / "elsewhere")
    assert elsewhere("repository", "rebuild-catalog").code == 3
    two_backups(csbs, server)
    backup_id = csbs.ok("backup", "show", "second")["id"]
    [manifest] = (tmp_path / "store").glob(f"*/manifests/*/*-{backup_id}")
    manifest.write_bytes(manifest.read_bytes()[:-1])
    rebuilt = elsewhere("repository", "rebuild-catalog", "--json")

    assert rebuilt.code == 8
    assert rebuilt.document["damaged"][0]["id"] == backup_id
    assert [each["name"] for each in elsewhere.ok("backup", "list")["backups"]] == ["first"]

    delete = ["repository", "rebuild-catalog", "--take-over", "--delete-damaged"]
    assert elsewhere(*delete).code == 5  # nobody to ask
    deleted = elsewhere(*delete, "--yes")
    assert (deleted.code, "deleted: object" in deleted.out) == (8, True)
    assert elsewhere("repository", "rebuild-catalog").code == 0

    (tmp_path / "store" / ("0" * 32)).mkdir()
    (tmp_path / "store" / ("0" * 32) / "config").write_bytes(b"another project's")
    third = replace(csbs, data_dir=tmp_path / "third")
    several = third("repository", "rebuild-catalog", "--json")
    assert (several.code, "choose one" in several.error["message"]) == (2, True)
    project = manifest.parents[2].name
    assert third("repository", "rebuild-catalog", "--project", project).code == 0
    assert third("repository", "rebuild-catalog", "--project", "1" * 32).code == 3

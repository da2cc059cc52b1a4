"""Servers of a real libvirt, with their backups in a real S3 server."""

from __future__ import annotations

from uuid import uuid4

import pytest

from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_domains import DomainServer
from csbs.testing.seaweedfs import WRITER, SeaweedFS
from tests.integration.libvirt.shell import Shell, contents

pytestmark = pytest.mark.host


def test_back_up_go_on_delete_wreck_restore(
    csbs: Shell, server: DomainServer, seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSBS_STORE_URL", seaweedfs.url(f"libvirt/{uuid4()}"))
    monkeypatch.setenv("CSBS_S3_ACCESS_KEY_ID", WRITER.access_key_id)
    monkeypatch.setenv("CSBS_S3_SECRET_ACCESS_KEY", WRITER.secret_access_key)
    first = csbs.ok("backup", "create", server.name)
    server.write("vda", offset=3 * MIB, size=MIB, pattern=4)
    second = csbs.ok("backup", "create", server.name, "--name", "second")
    csbs.ok("server", "stop", server.name)
    expected = contents(server)
    csbs.ok("backup", "delete", first["id"], "--yes")
    csbs.ok("repository", "collect")
    server.write("vda", offset=0, size=4 * MIB, pattern=9)
    server.write("vdb", offset=0, size=4 * MIB, pattern=9)
    csbs.ok("restore", "second", "--yes", "--no-start")

    assert [disk["mode"] for disk in second["disks"]] == ["incremental", "incremental", "rescan"]
    assert contents(server) == expected
    assert csbs.ok("repository", "show")["backups"] == 1
    assert not (csbs.data_dir / "store").exists()

"""Damage in the store of a real server's backups: found, restored around, and healed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from csbs.repository.pack import HEADER_SIZE, Content
from csbs.testing.driver_contract import MIB
from csbs.testing.libvirt_domains import DomainServer
from tests.integration.libvirt.shell import Shell, contents

pytestmark = pytest.mark.host

#: Of a pack's header.
_CONTENT_AT = 28


def packs_of_blocks(csbs: Shell) -> list[Path]:
    packs = csbs.data_dir.glob("store/*/packs/*/*")
    return [path for path in packs if path.read_bytes()[_CONTENT_AT] == Content.BLOCKS]


def spoil_first_frame(pack: Path) -> None:
    data = bytearray(pack.read_bytes())
    data[HEADER_SIZE + 5] ^= 0x40
    pack.write_bytes(data)


def damaged(csbs: Shell, *arguments: str) -> Any:
    """The document of a command that met damage."""
    result = csbs(*arguments, "--json")
    assert result.code == 8, result.err
    return result.document


def test_a_damaged_pack_is_found_and_the_next_backup_heals_it(
    csbs: Shell, server: DomainServer
) -> None:
    first = csbs.ok("backup", "create", server.name, "--name", "first")
    [pack] = packs_of_blocks(csbs)
    spoil_first_frame(pack)
    structure = csbs.ok("repository", "verify")
    found = damaged(csbs, "repository", "verify", "--all")
    told = csbs("repository", "verify", "--all")
    without_keys = damaged(csbs, "repository", "verify", "--without-keys")
    [backup] = found["backups"]
    [disk] = backup["disks"]
    [lost] = disk["ranges"]

    assert not structure["damaged"]
    assert (backup["id"], backup["name"], backup["server"]["name"]) == (
        *(first["id"], "first", server.name),
    )
    assert lost["size_bytes"] == disk["lost_bytes"]
    assert without_keys["objects"][0]["key"].endswith(pack.name)
    assert f"backup first ({first['id']}) of server {server.name} has lost:" in told.out
    assert f"  offset {lost['offset_bytes']}, length {lost['size_bytes']}" in told.out

    healed = csbs.ok("backup", "create", server.name, "--name", "healed")
    reasons = {each["target"]: each["reason"] for each in healed["disks"]}
    again = {target for target, reason in reasons.items() if "damaged in the store" in reason}
    assert again == {disk["target"]} - {"vdc"}  # a raw disk is read whole anyway
    csbs.ok("server", "stop", server.name)
    expected = contents(server)
    for target in ("vda", "vdb", "vdc"):
        server.write(target, offset=0, size=2 * MIB, pattern=9)
    csbs.ok("restore", "healed", "--yes", "--no-start")
    assert contents(server) == expected
    assert [each["name"] for each in damaged(csbs, "repository", "verify")["backups"]] == ["first"]


def test_a_damaged_backup_is_refused_or_restored_with_holes(
    csbs: Shell, server: DomainServer
) -> None:
    csbs.ok("backup", "create", server.name, "--name", "first")
    [pack] = packs_of_blocks(csbs)
    spoil_first_frame(pack)
    found = damaged(csbs, "repository", "verify", "--all")
    [disk] = found["backups"][0]["disks"]
    target, [lost] = disk["target"], disk["ranges"]
    for each in ("vda", "vdb", "vdc"):
        server.write(each, offset=0, size=2 * MIB, pattern=9)
    refused = csbs("restore", "first", "--yes", "--json")

    assert (refused.code, refused.error["kind"]) == (8, "damaged")
    assert f"disk {target} of server {server.name}" in refused.error["message"]
    assert f"from {lost['offset_bytes']} on" in refused.error["message"]
    assert server.is_active()  # nothing was touched

    restored = damaged(csbs, "restore", "first", "--yes", "--no-start", "--allow-holes")
    holes = {each["target"]: each["holes"] for each in restored["disks"]}
    assert holes == {each: [lost] if each == target else [] for each in ("vda", "vdb", "vdc")}
    now = contents(server)
    begin, end = lost["offset_bytes"], lost["offset_bytes"] + lost["size_bytes"]
    assert now[target][begin:end] == bytes(lost["size_bytes"])
    assert now["vda"][MIB:] == bytes(7 * MIB)
    assert now["vdb"][2 * MIB :] == bytes(2 * MIB)

    # What the backup had is written again: its digest is that of the damaged frame.
    pattern = {"vda": 1, "vdb": 2, "vdc": 3}[target]
    server.write(target, offset=begin, size=lost["size_bytes"], pattern=pattern)
    expected = contents(server)
    csbs.ok("backup", "create", server.name, "--name", "after")
    for each in ("vda", "vdb", "vdc"):
        server.write(each, offset=0, size=2 * MIB, pattern=7)
    csbs.ok("restore", "after", "--yes", "--no-start")
    assert contents(server) == expected


def test_shares_cover_the_store_and_bad_ones_are_usage(csbs: Shell, server: DomainServer) -> None:
    csbs.ok("backup", "create", server.name)
    parts = [csbs.ok("repository", "verify", "--share", f"{n}/3") for n in (1, 2, 3)]
    everything = csbs.ok("repository", "verify", "--all")
    bad = csbs("repository", "verify", "--share", "4/3", "--json")
    both = csbs("repository", "verify", "--share", "1/3", "--all", "--json")

    assert sum(part["read_bytes"] for part in parts) == everything["read_bytes"] > 0
    assert sum(part["packs_read"] for part in parts) == everything["packs_checked"]
    assert "no damage was found" in csbs("repository", "verify").out
    assert (bad.code, bad.error["kind"], bad.error["object"]) == (2, "invalid", "4/3")
    assert (both.code, both.error["kind"]) == (2, "invalid")


def test_without_a_config_it_says_so_and_whole_packs_are_checked_all_the_same(
    csbs: Shell, server: DomainServer
) -> None:
    csbs.ok("backup", "create", server.name)
    [config] = csbs.data_dir.glob("store/*/config")
    for each in (config, config.parent / "twins" / "config"):
        each.write_bytes(each.read_bytes()[:-1])
    result = csbs("repository", "verify", "--json")

    assert (result.code, result.error["object"]) == (8, "config")
    assert csbs.ok("repository", "verify", "--without-keys")["packs_read"] > 0

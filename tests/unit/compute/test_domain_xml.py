"""libvirt's XML, by tables."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from csbs.compute.libvirt.domain_xml import (
    BackupDisk,
    CheckpointXml,
    DiskXml,
    backup_xml,
    checkpoint_covering_only,
    checkpoint_xml,
    definition_with,
    has_incremental_backup,
    job_socket,
    parse_domain,
    qemu_owner,
    redefined_checkpoint_xml,
)
from csbs.domain.ids import TrackingName

FILE = """<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
    <source file='/images/a.qcow2'/><target dev='vda' bus='virtio'/></disk>"""
RUNNING = """<disk type='file'><driver type='qcow2'/>
    <source file='/images/a.qcow2' index='3'/><target dev='vda'/></disk>"""
BLOCK = """<disk type='block' device='disk'><source dev='/dev/vg/a'/><target dev='vdb'/>
    <serial>S1</serial><wwn>5000c50015ea71aa</wwn><shareable/></disk>"""
NETWORK = """<disk type='network' device='disk'><driver name='qemu' type='raw'/>
    <source protocol='rbd' name='pool/a'/><target dev='vdc'/><readonly/></disk>"""
VOLUME = """<disk type='volume'><source pool='default' volume='a'/><target dev='vdd'/></disk>"""
CDROM = "<disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>"
FLOPPY = "<disk type='file' device='floppy'><source file='/f'/><target dev='fda'/></disk>"


def _parsed(xml: str) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314  we have just made it


def _one(element: ET.Element, path: str) -> ET.Element:
    found = element.find(path)
    assert found is not None
    return found


def _domain(*devices: str) -> str:
    return f"<domain><name>web</name><uuid>u</uuid><devices>{''.join(devices)}</devices></domain>"


@pytest.mark.parametrize(
    ("xml", "vcpus", "memory_bytes"),
    [
        ("<vcpu placement='static'>4</vcpu><memory unit='KiB'>2097152</memory>", 4, 2 * 1024**3),
        ("<vcpu current='2'>8</vcpu><memory>1024</memory>", 2, 1024**2),
        ("<vcpu/><memory/>", 0, 0),
        ("", 0, 0),
    ],
)
def test_what_a_server_has(xml: str, vcpus: int, memory_bytes: int) -> None:
    domain = parse_domain(f"<domain><name>web</name>{xml}<devices/></domain>")

    assert (domain.vcpus, domain.memory_bytes) == (vcpus, memory_bytes)


def _booting(disk: str, order: int) -> str:
    return disk.replace("</disk>", f"<boot order='{order}'/></disk>")


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        pytest.param(
            FILE,
            DiskXml(target="vda", source="/images/a.qcow2", format="qcow2", bootable=True),
            id="file",
        ),
        pytest.param(
            RUNNING,
            DiskXml(
                target="vda",
                source="/images/a.qcow2",
                format="qcow2",
                bootable=True,
                node="libvirt-3-format",
            ),
            id="of a running server",
        ),
        pytest.param(
            BLOCK,
            DiskXml(
                target="vdb",
                source="/dev/vg/a",
                format="raw",
                serial="S1",
                wwn="5000c50015ea71aa",
                bootable=True,
                shared=True,
            ),
            id="block device",
        ),
        pytest.param(
            NETWORK,
            DiskXml(target="vdc", source=None, format="raw", bootable=True, read_only=True),
            id="network",
        ),
        pytest.param(
            VOLUME, DiskXml(target="vdd", source=None, format="raw", bootable=True), id="volume"
        ),
    ],
)
def test_a_disk_is_read(xml: str, expected: DiskXml) -> None:
    assert parse_domain(_domain(xml)).disks == (expected,)


def test_cdroms_and_floppies_are_left_out() -> None:
    domain = parse_domain(_domain(CDROM, FILE, FLOPPY))

    assert [disk.target for disk in domain.disks] == ["vda"]
    assert domain.left_out == ("sda", "fda")


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        pytest.param([FILE, BLOCK], "vda", id="the first without an order"),
        pytest.param([FILE, _booting(BLOCK, 2)], "vdb", id="the only one with an order"),
        pytest.param([_booting(FILE, 2), _booting(BLOCK, 1)], "vdb", id="the lowest order"),
        pytest.param([_booting(CDROM, 1), FILE], "vda", id="a CD-ROM does not count"),
    ],
)
def test_one_disk_boots(devices: list[str], expected: str) -> None:
    domain = parse_domain(_domain(*devices))

    assert [disk.target for disk in domain.disks if disk.bootable] == [expected]


@pytest.mark.parametrize(
    ("channel", "expected"), [("org.qemu.guest_agent.0", True), ("com.redhat.spice.0", False)]
)
def test_the_agent_has_a_channel_of_its_name(channel: str, *, expected: bool) -> None:
    xml = _domain(f"<channel type='unix'><target type='virtio' name='{channel}'/></channel>")

    assert parse_domain(xml).has_agent is expected


def test_a_backup_names_mode_bitmap_and_scratch_of_each_disk() -> None:
    since = TrackingName("csbs-1")
    disks = [
        BackupDisk(target="vda", scratch=Path("/s/a"), since=since, tracked=True),
        BackupDisk(target="vdb", scratch=Path("/s/b"), since=None, tracked=False),
    ]

    xml = backup_xml(Path("/r/j.sock"), disks, left_out=["sda"])

    assert job_socket(xml) == "/r/j.sock"
    vda, vdb, sda = _parsed(xml).findall("./disks/disk")
    assert vda.attrib == {
        "name": "vda",
        "backup": "yes",
        "type": "file",
        "exportname": "vda",
        "backupmode": "incremental",
        "incremental": "csbs-1",
        "exportbitmap": "backup-vda",
    }
    assert vdb.get("backupmode") == "full"
    assert vdb.get("incremental") is None
    assert [_one(each, "scratch").get("file") for each in (vda, vdb)] == ["/s/a", "/s/b"]
    assert sda.attrib == {"name": "sda", "backup": "no"}


def test_paths_and_names_are_quoted() -> None:
    disk = BackupDisk(target="v&a", scratch=Path("/s/<'\">"), since=None, tracked=False)

    root = _parsed(backup_xml(Path("/r & d/s"), [disk], left_out=[]))

    assert _one(root, "./disks/disk/scratch").get("file") == "/s/<'\">"
    assert _one(root, "server").get("socket") == "/r & d/s"


def _checkpoint_disks(xml: str) -> list[tuple[str | None, str | None, str | None]]:
    return [
        (disk.get("name"), disk.get("checkpoint"), disk.get("bitmap"))
        for disk in _parsed(xml).findall("./disks/disk")
    ]


def test_a_new_checkpoint_says_of_each_disk_whether_it_is_covered() -> None:
    xml = checkpoint_xml(TrackingName("csbs-1"), tracked=["vda"], untracked=["vdb", "sda"])

    assert _parsed(xml).findtext("name") == "csbs-1"
    assert _checkpoint_disks(xml) == [
        ("vda", "bitmap", None),
        ("vdb", "no", None),
        ("sda", "no", None),
    ]


@pytest.mark.parametrize("parent", [None, "csbs-0"], ids=["first", "with a parent"])
def test_a_redefined_checkpoint_has_its_parent_time_bitmaps_and_domain(parent: str | None) -> None:
    checkpoint = CheckpointXml(
        name=TrackingName("csbs-1"),
        created_at_s=17,
        parent=parent,
        tracked=["vda"],
        untracked=["vdb"],
    )

    xml = redefined_checkpoint_xml(checkpoint, domain=_domain(FILE, BLOCK))

    root = _parsed(xml)
    assert root.findtext("./parent/name") == parent
    assert root.findtext("creationTime") == "17"
    assert root.findtext("./domain/name") == "web"
    assert _checkpoint_disks(xml) == [("vda", "bitmap", "csbs-1"), ("vdb", "no", None)]


def test_disks_are_taken_out_of_a_checkpoint() -> None:
    checkpoint = CheckpointXml(
        name=TrackingName("csbs-1"),
        created_at_s=17,
        parent=None,
        tracked=["vda", "vdb"],
        untracked=[],
    )
    xml = redefined_checkpoint_xml(checkpoint, domain=_domain())

    assert _checkpoint_disks(checkpoint_covering_only(xml, {"vdb"})) == [
        ("vda", "no", None),
        ("vdb", "bitmap", "csbs-1"),
    ]


@pytest.mark.parametrize(
    ("secmodels", "expected"),
    [
        pytest.param(
            "<secmodel><model>apparmor</model></secmodel><secmodel><model>dac</model>"
            "<baselabel type='kvm'>+1:+2</baselabel><baselabel type='qemu'>+64055:+108</baselabel>"
            "</secmodel>",
            (64055, 108),
            id="dac",
        ),
        pytest.param("<secmodel><model>none</model></secmodel>", (0, 0), id="no dac"),
        pytest.param("", (0, 0), id="nothing"),
    ],
)
def test_qemu_runs_as_the_user_of_dac(secmodels: str, expected: tuple[int, int]) -> None:
    assert qemu_owner(f"<capabilities><host>{secmodels}</host></capabilities>") == expected


@pytest.mark.parametrize(
    ("features", "expected"),
    [("<backup supported='yes'/>", True), ("<backup supported='no'/>", False), ("", False)],
)
def test_libvirt_says_whether_it_backs_up_increments(features: str, *, expected: bool) -> None:
    xml = f"<domainCapabilities><features>{features}</features></domainCapabilities>"

    assert has_incremental_backup(xml) is expected


LUN = (
    "<disk type='block' device='lun' sgio='filtered'><driver name='qemu' type='raw' cache='none'/>"
    "<source dev='/dev/sdx'/><backingStore/><target dev='sdl'/><serial>S1</serial></disk>"
)
SEALED = (
    "<disk type='network' device='disk'><source protocol='rbd' name='pool/image'/>"
    "<encryption format='luks'/><target dev='vdx'/></disk>"
)
LOADED = "<disk type='file' device='cdrom'><source file='/iso'/><target dev='sdz'/></disk>"


def test_a_definition_gets_other_images_and_keeps_the_rest() -> None:
    images = {"sdl": Path("/out/web-sdl.qcow2"), "vdx": Path("/out/web-vdx.qcow2")}
    made = definition_with(_domain(LUN, SEALED, LOADED), images, image_format="qcow2")
    lun, network, cdrom = _parsed(made).findall("./devices/disk")

    assert [disk.source for disk in parse_domain(made).disks] == [
        str(path) for path in images.values()
    ]
    assert [disk.format for disk in parse_domain(made).disks] == ["qcow2", "qcow2"]
    assert lun.attrib == {"type": "file", "device": "disk"}
    assert lun.find("driver[@cache='none']") is not None
    assert lun.findtext("serial") == "S1"
    assert lun.find("backingStore") is None
    assert network.find("encryption") is None
    assert network.find("source[@protocol]") is None
    assert cdrom.find("source[@file='/iso']") is not None
    assert _parsed(made).findtext("name") == "web"


def test_elements_of_qemu_keep_their_prefix() -> None:
    space = "http://libvirt.org/schemas/domain/qemu/1.0"
    xml = f"<domain xmlns:qemu='{space}'><qemu:commandline/></domain>"

    assert "<qemu:commandline" in definition_with(xml, {}, image_format="raw")

"""Checkpoints and bitmaps that have parted."""

from __future__ import annotations

import pytest

from csbs.compute.libvirt import LibvirtDriver
from csbs.domain.errors import TrackingLost
from csbs.domain.ids import tracking_name
from csbs.domain.server import TrackingFault
from csbs.testing.driver_contract import FIRST, SECOND, begin
from csbs.testing.libvirt_domains import DomainServer

pytestmark = pytest.mark.host


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_bitmaps_that_lost_their_checkpoint_are_refused_and_can_be_retired(
    driver: LibvirtDriver, offline_server: DomainServer, *, running: bool
) -> None:
    server = offline_server
    if running:
        server.start()
    begin(driver, server.id, FIRST).end()
    server.forget_checkpoints()

    report = driver.tracking(server.id)
    with pytest.raises(TrackingLost):
        begin(driver, server.id, SECOND, since=FIRST)
    driver.retire_tracking(server.id, [tracking_name(FIRST)])

    orphan = {tracking_name(FIRST): TrackingFault.NO_CHECKPOINT}
    assert (report.checkpoints, report.usable) == ((), {})
    assert report.broken == {"vda": orphan, "vdb": orphan}
    assert driver.tracking(server.id).broken == {}


def test_a_server_without_our_checkpoints_can_be_undefined(
    driver: LibvirtDriver, offline_server: DomainServer
) -> None:
    begin(driver, offline_server.id, FIRST).end()
    assert not offline_server.can_be_undefined()

    driver.retire_tracking(offline_server.id, driver.tracking(offline_server.id).checkpoints)

    assert offline_server.can_be_undefined()

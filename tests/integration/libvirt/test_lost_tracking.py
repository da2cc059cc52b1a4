"""Chains of backups whose tracking is lost: by a kill of QEMU, or by hand.

Each backup is held against the disks byte for byte, in the end once more (`csbs.testing.chain`).
"""

from __future__ import annotations

import pytest

from csbs.domain.errors import ServerPoweredOff
from csbs.testing import by_hand
from tests.integration.libvirt.chains import (
    GONE,
    NO_BITMAP,
    NO_CHECKPOINT,
    NOT_CLOSED,
    RAW,
    SWITCHED_OFF,
    TRACKED,
    go_on,
    next_backup,
)
from tests.integration.libvirt.conftest import BeginChain

pytestmark = pytest.mark.host


def test_qemu_is_killed_between_backups_and_during_one(begin_chain: BeginChain) -> None:
    chain = begin_chain(11)
    server = chain.server

    chain.scribble()
    server.kill()  # QEMU never wrote its bitmaps: it does so when it ends
    chain.learn()
    server.start()
    assert next_backup(chain) == {"vda": NO_BITMAP, "vdb": NO_BITMAP, "vdc": RAW}
    assert next_backup(chain) == {"vda": TRACKED, "vdb": TRACKED, "vdc": RAW}

    server.power_off()
    server.start()
    chain.scribble()
    error = chain.fail(during=server.kill)
    assert isinstance(error, ServerPoweredOff)
    assert "vda has no usable bitmap" in error.why
    chain.learn()
    server.start()
    assert next_backup(chain) == {"vda": NOT_CLOSED, "vdb": NOT_CLOSED, "vdc": RAW}

    chain.scribble()
    server.power_off()
    server.start()
    server.kill()
    chain.learn()
    assert next_backup(chain) == {"vda": NOT_CLOSED, "vdb": NOT_CLOSED, "vdc": RAW}
    server.start()
    go_on(chain)


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_bitmaps_and_checkpoints_are_removed_by_hand(
    begin_chain: BeginChain, *, running: bool
) -> None:
    chain = begin_chain(12)
    server = chain.server
    if not running:
        server.power_off()

    chain.scribble()
    by_hand.remove_tracking(server, "vdb", chain.tracking)
    assert next_backup(chain) == {"vda": TRACKED, "vdb": NO_BITMAP, "vdc": RAW}

    chain.scribble()
    by_hand.switch_tracking_off(server, "vda", chain.tracking)
    assert next_backup(chain) == {"vda": SWITCHED_OFF, "vdb": TRACKED, "vdc": RAW}

    chain.scribble()
    server.virsh("checkpoint-delete", chain.tracking, "--metadata")
    assert next_backup(chain) == {"vda": NO_CHECKPOINT, "vdb": NO_CHECKPOINT, "vdc": RAW}

    if not running:
        server.start()  # libvirt deletes no bitmaps of a stopped server
    chain.scribble()
    server.virsh("checkpoint-delete", chain.tracking)
    assert next_backup(chain) == {"vda": GONE, "vdb": GONE, "vdc": RAW}
    go_on(chain)

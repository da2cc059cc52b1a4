"""The contract of drivers, on a real libvirt."""

from __future__ import annotations

import pytest

from csbs.testing.driver_contract import DriverContract


@pytest.mark.host
class TestLibvirtDriver(DriverContract):
    """Its driver and server are in conftest.py."""

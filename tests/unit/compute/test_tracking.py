"""Checkpoints are listed also while another call makes or deletes one."""

from __future__ import annotations

from typing import cast

import pytest

from csbs.compute.libvirt.binding import libvirt
from csbs.compute.libvirt.tracking import checkpoint_names


class Checkpoint:
    def getName(self) -> str:  # noqa: N802  as libvirt spells it
        return "csbs-1"


class Failure(libvirt.libvirtError):
    """What libvirt says then, with any code."""

    def __init__(self, code: int) -> None:
        super().__init__("name in virGetDomainCheckpoint must not be NULL")
        self._code = code

    def get_error_code(self) -> int:
        return self._code


class Domain:
    """Its listing fails so often, with this code."""

    def __init__(self, failures: int, code: int) -> None:
        self.calls = 0
        self._failures = failures
        self._code = code

    def listAllCheckpoints(self, _flags: int) -> list[Checkpoint]:  # noqa: N802  likewise
        self.calls += 1
        if self.calls > self._failures:
            return [Checkpoint()]
        raise Failure(self._code)


def names(domain: Domain) -> list[str]:
    return checkpoint_names(cast("libvirt.virDomain", domain), lambda _: None)


def test_one_without_a_name_is_gone_at_the_next_look() -> None:
    domain = Domain(3, libvirt.VIR_ERR_INVALID_ARG)

    assert names(domain) == ["csbs-1"]
    assert domain.calls == 4


def test_one_that_stays_without_a_name_is_an_error() -> None:
    domain = Domain(10, libvirt.VIR_ERR_INVALID_ARG)

    with pytest.raises(libvirt.libvirtError, match="must not be NULL"):
        names(domain)
    assert domain.calls == 10


def test_another_error_is_told_at_once() -> None:
    domain = Domain(1, libvirt.VIR_ERR_SYSTEM_ERROR)

    with pytest.raises(libvirt.libvirtError):
        names(domain)
    assert domain.calls == 1

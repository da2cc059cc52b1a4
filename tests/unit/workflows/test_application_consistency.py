"""Application consistency before there are hooks: it fails, or falls back and says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csbs.domain.backup import BackupState, FailedOperation
from csbs.domain.consistency import NO_HOOKS, Consistency, ConsistencyNotReached
from csbs.services.requests import CreateBackup, keep_backup_request, kept_backup_request
from tests.unit.workflows.service_lab import ServiceLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ServiceLab]:
    made = ServiceLab(tmp_path)
    made.server.start()
    yield made
    made.close()


ASKED = CreateBackup(server="web", consistency=Consistency.APPLICATION)


def test_a_backup_falls_back_to_what_is_reached_and_says_why(lab: ServiceLab) -> None:
    lab.server.has_agent = True

    backup = lab.backups.create(ASKED, lab.watcher)

    assert backup.consistency_asked is Consistency.APPLICATION
    assert backup.consistency_reached is Consistency.FILESYSTEM
    assert backup.consistency_reason == NO_HOOKS


def test_all_reasons_are_said(lab: ServiceLab) -> None:
    backup = lab.backups.create(ASKED, lab.watcher)

    assert backup.consistency_reached is Consistency.CRASH
    assert backup.consistency_reason == f"{NO_HOOKS}; the server has no guest agent"


def test_a_backup_that_must_have_it_fails_with_the_reason(lab: ServiceLab) -> None:
    asked = replace(ASKED, require_consistency=True)

    with pytest.raises(ConsistencyNotReached):
        lab.backups.create(asked, lab.watcher)

    (failed,) = lab.listed()
    assert (failed.state, failed.fail_op) == (BackupState.ERROR, FailedOperation.BACKUP)
    assert failed.fail_code == "ConsistencyNotReached"
    assert NO_HOOKS in failed.fail_reason
    assert "begin_backup" not in lab.driver.calls


def test_a_task_remembers_that_it_must(lab: ServiceLab) -> None:
    backup = lab.backups.create(ASKED, lab.watcher)
    asked = replace(ASKED, require_consistency=True)

    assert kept_backup_request(keep_backup_request(asked), backup).require_consistency is True

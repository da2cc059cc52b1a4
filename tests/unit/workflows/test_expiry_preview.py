"""Previews: what stays and goes now and later; the space is just what deletions give back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from csbs.catalog import backups, policies
from csbs.domain.backup import Backup
from csbs.domain.deletion_plan import counts
from csbs.domain.ids import PolicyId, ServerId
from csbs.domain.policy import BoundServer, InvalidPolicy, NewSchedule, Policy, new_schedule
from csbs.domain.retention import Rule
from csbs.services.expiry_preview import AHEAD_MAX, PreviewService
from csbs.services.requests import CreateBackup
from tests.unit.workflows.service_lab import ServiceLab

DAY = timedelta(days=1)
DAILY = "RRULE:FREQ=DAILY;BYHOUR=12;BYMINUTE=0"


class PreviewLab(ServiceLab):
    """A policy that keeps three backups of `web`, of which there are five."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server.start()
        self.elapsed_s = 0.0
        self.preview = PreviewService(
            catalog=self.catalog,
            project_id=self.project_id,
            repositories=self.repositories,
            region_zone="UTC",
            clock=lambda: self.now,
            monotonic=lambda: self.elapsed_s,
        )
        self.back_up()  # a manual one, which the catalog knows its server from
        self.policy = self._make_policy(max_backups=3)
        self.made = [self._automatic(number) for number in range(5)]
        self.now = self.made[-1].created_at + timedelta(minutes=1)

    def _make_policy(self, **retention: object) -> Policy:
        at = self.clock()
        schedule = new_schedule(
            NewSchedule(pattern=DAILY, retention=retention),
            ids=("s", "t"),
            at=at,
            region_zone="UTC",
        )
        policy = Policy(
            id=PolicyId("p"),
            project_id=self.project_id,
            name="nightly",
            description="",
            created_at=at,
            updated_at=at,
            parameters={},
            servers=(BoundServer(id=ServerId(self.server.id), kind="k", name="web"),),
            schedules=(schedule,),
        )
        with self.catalog.transaction() as transaction:
            policies.add(transaction, policy)
        return policy

    def _automatic(self, number: int) -> Backup:
        self.write(number)
        request = CreateBackup(server="web", policy_id=self.policy.id, auto_trigger=True)
        return self.backups.create(request, self.watcher)

    def storage_bytes(self) -> int:
        with self.catalog.transaction() as transaction:
            found = backups.of_project(transaction, self.project_id)
        return sum(each.storage_bytes for each in found if counts(each))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[PreviewLab]:
    made = PreviewLab(tmp_path)
    yield made
    made.close()


def test_the_space_is_just_what_the_deletions_give_back(lab: PreviewLab) -> None:
    seen = lab.preview.preview(lab.policy)

    assert [each.backup.id for each in seen.removed] == [each.id for each in lab.made[:2]]
    assert [each.backup.id for each in seen.kept] == [each.id for each in lab.made[:1:-1]]
    assert seen.space.exact
    assert seen.space.before_bytes == lab.storage_bytes()
    for each in lab.made[:2]:
        lab.backups.delete(each.id, lab.watcher)
    assert seen.space.after_bytes == lab.storage_bytes() < seen.space.before_bytes


def test_names_and_reasons_are_told(lab: PreviewLab) -> None:
    seen = lab.preview.preview(lab.policy)

    assert {seen.names[each.backup.id] for each in seen.kept} == {
        (each.name, each.server_name) for each in lab.made[2:]
    }
    assert [each.rule for each in seen.kept[0].reasons] == [Rule.NEWEST, Rule.NUMBER]


def test_at_a_later_date_the_runs_until_then_are_taken_to_end_well(lab: PreviewLab) -> None:
    seen = lab.preview.preview(lab.policy, lab.now + 2 * DAY)

    assert seen.coming_runs == 2
    assert [each.backup.id for each in seen.removed] == [each.id for each in lab.made[:4]]
    assert [each.backup.id for each in seen.kept] == [lab.made[4].id]


def test_a_policy_that_is_off_keeps_all_and_runs_no_more(lab: PreviewLab) -> None:
    schedule = replace(lab.policy.schedules[0], enabled=False)

    seen = lab.preview.preview(replace(lab.policy, schedules=(schedule,)), lab.now + 99 * DAY)

    assert (seen.removed, seen.coming_runs) == ((), 0)
    assert {each.reasons[0].rule for each in seen.kept} == {Rule.OFF}
    assert seen.space.before_bytes == seen.space.after_bytes == lab.storage_bytes()


def test_where_maps_are_not_read_in_time_the_least_is_told(lab: PreviewLab) -> None:
    exact = lab.preview.preview(lab.policy).space

    late = replace(lab.preview, measure_s=0).preview(lab.policy).space

    assert not late.exact
    assert exact.after_bytes <= late.after_bytes <= late.before_bytes


def test_where_somebody_has_the_repository_alone_the_least_is_told(lab: PreviewLab) -> None:
    with lab.repositories.alone("a collection"):
        seen = lab.preview.preview(lab.policy)

    assert len(seen.removed) == 2
    assert not seen.space.exact


@pytest.mark.parametrize("later", [-DAY, AHEAD_MAX + DAY])
def test_dates_that_make_no_sense_are_refused(lab: PreviewLab, later: timedelta) -> None:
    with pytest.raises(InvalidPolicy, match="at: use a date from now to"):
        lab.preview.preview(lab.policy, lab.now + later)

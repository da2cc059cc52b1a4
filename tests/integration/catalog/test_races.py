"""Two processes want the same at once: exactly one gets it, on both databases."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from csbs.catalog import Catalog, assignments, backups, policies, projects, quotas, servers
from csbs.domain.errors import Conflict, Refused
from csbs.domain.ids import BackupId, ProjectId, ServerId
from csbs.domain.policy import BoundServer
from csbs.domain.server import ServerRef
from csbs.domain.tenancy import Project
from csbs.services.passwords import Passwords
from csbs.services.projects import ProjectService
from csbs.services.quotas import QuotaService
from csbs.services.users import UserService
from csbs.testing.live_api import FastHasher
from csbs.testing.policy_catalog_contract import make_policy
from csbs.testing.values import START, make_backup

_TURNS = 12
#: More than two at once would fit.
_ROOM = 7
_TIMEOUT_S = 120
_SPAWN = multiprocessing.get_context("spawn")


def _new_id() -> str:
    return str(uuid4())


def _make_user(catalog: Catalog, _project: ProjectId, turn: int, _who: int) -> None:
    hashed = Passwords(FastHasher())
    service = UserService(catalog=catalog, passwords=hashed, clock=lambda: START, new_id=_new_id)
    service.create(f"user-{turn}", "a-good-password")


def _make_project(catalog: Catalog, project: ProjectId, turn: int, _who: int) -> None:
    service = ProjectService(
        catalog=catalog,
        clock=lambda: START,
        new_id=_new_id,
        home_id=project,
        region="local",
        removal_of=_no_removal,
    )
    service.create(f"local_{turn}")


def _no_removal(_project: ProjectId) -> Any:
    pytest.fail("nothing is deleted")


def _make_policy(catalog: Catalog, project: ProjectId, turn: int, who: int) -> None:
    policy = make_policy(project, f"{turn}-{who}", name=f"policy-{turn}", schedules=())
    with catalog.transaction() as transaction:
        policies.add(transaction, policy)


def _bind_server(catalog: Catalog, project: ProjectId, turn: int, who: int) -> None:
    server = BoundServer(
        id=ServerId(f"bound-{turn}"), kind="", name="", exclude_disks=frozenset(), extra={}
    )
    policy = make_policy(project, f"b{turn}-{who}", servers=(server,), schedules=())
    with catalog.transaction() as transaction:
        servers.remember_server(transaction, project, server.id, "bound")
        policies.add(transaction, policy)


def _fill_policies(catalog: Catalog, project: ProjectId, turn: int, who: int) -> None:
    with catalog.transaction() as transaction:
        policies.add(transaction, make_policy(project, f"q{turn}-{who}", schedules=()))
        QuotaService(catalog=catalog, project_id=project).require_policy(transaction)


def _fill_backups(catalog: Catalog, project: ProjectId, turn: int, who: int) -> None:
    backup = replace(make_backup(turn, {}), id=BackupId(f"q{turn}-{who}"), project_id=project)
    with catalog.transaction() as transaction:
        servers.remember_server(transaction, project, backup.server_id, "web")
        backups.add(transaction, backup)
        QuotaService(catalog=catalog, project_id=project).require_backup(transaction)


def _assign_server(catalog: Catalog, _project: ProjectId, turn: int, who: int) -> None:
    server = ServerRef(ServerId(f"moved-{turn}"), "moved")
    with catalog.transaction() as transaction:
        target = projects.find(transaction, f"target-{who}")
        assert target is not None
        if assignments.project_of(transaction, server.id) in {f"{n:032}" for n in range(2)}:
            raise _Taken(server.name)
        assignments.assign(transaction, server, target.id)


class _Taken(Conflict):
    """The other one has it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)


#: What both do in each turn, and how often somebody may get what he wants.
_ACTS = {
    _make_user: _TURNS,
    _make_project: _TURNS,
    _make_policy: _TURNS,
    _bind_server: _TURNS,
    _assign_server: _TURNS,
    _fill_policies: _ROOM,
    _fill_backups: _ROOM,
}


def _race(place: Path | str, project: ProjectId, who: int, start: Any, out: Any) -> None:
    """One of the two processes: the turns in which it got what it wanted, for each act."""
    catalog = Catalog.open(place)
    won: dict[str, list[int]] = {}
    for act in _ACTS:
        if act is _fill_policies:
            start.wait(_TIMEOUT_S)
            _leave_room(catalog, project)
        mine = won.setdefault(act.__name__, [])
        for turn in range(_TURNS):
            start.wait(_TIMEOUT_S)
            with suppress(Conflict, Refused):  # any other ends the process, and the test
                act(catalog, project, turn, who)
                mine.append(turn)
    catalog.close()
    out.put(won)


def _leave_room(catalog: Catalog, project: ProjectId) -> None:
    """For so many policies and backups more."""
    with catalog.transaction() as transaction:
        present = policies.count(transaction, project)
        # The other one may have filled a part of the room already.
        if quotas.of_project(transaction, project).backups is None:
            quotas.set_limit(transaction, project, "policies", present + _ROOM)
            quotas.set_limit(transaction, project, "backups", _ROOM)


def test_of_two_that_want_the_same_one_gets_it(place: Path | str) -> None:
    catalog = Catalog.open(place)
    project = catalog.home(clock=lambda: START, new_id=_new_id).project_id
    with catalog.transaction() as transaction:
        quotas.set_limit(transaction, project, "policies", None)
        for who in range(2):
            made = Project(id=ProjectId(f"{who:032}"), name=f"target-{who}")
            projects.add(transaction, made)
    catalog.close()
    start, out = _SPAWN.Barrier(2), _SPAWN.Queue()
    both = [
        _SPAWN.Process(target=_race, args=(place, project, who, start, out)) for who in range(2)
    ]
    for each in both:
        each.start()
    answers = [out.get(timeout=_TIMEOUT_S) for _ in both]
    for each in both:
        each.join(_TIMEOUT_S)

    for act, count in _ACTS.items():
        turns = sorted(turn for won in answers for turn in won[act.__name__])
        assert len(turns) == count, act.__name__
        if count == _TURNS:
            assert turns == list(range(_TURNS)), act.__name__

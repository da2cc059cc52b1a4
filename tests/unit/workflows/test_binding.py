"""Servers and their policies: bound by hand, and by tags."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from csbs.domain.errors import ServerNotFound
from csbs.domain.ids import ServerId
from csbs.domain.policy import InvalidPolicy, Policy, ServerBound
from csbs.domain.quota import QuotaExceeded
from csbs.domain.server import ServerRef
from csbs.domain.tags import Tag, TooManyTags
from tests.unit.workflows.schedule_lab import HOUR, ScheduleLab

PROD = Tag("env", "prod")
S1, S2 = ServerId("s1"), ServerId("s2")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ScheduleLab]:
    made = ScheduleLab(tmp_path)
    yield made
    made.close()


def bound(lab: ScheduleLab, policy: Policy) -> list[str]:
    return [each.id for each in lab.policies.get(policy.id).servers]


def test_many_servers_are_bound_by_one_look_at_the_host(lab: ScheduleLab) -> None:
    """A look into each of 64 takes long, and one that cannot be looked into is bound as well."""
    looks = []
    ids = [ServerId(f"many-{number}") for number in range(64)]

    def look() -> list[ServerRef]:
        looks.append(1)
        return [ServerRef(each, f"name of {each}") for each in ids]

    policy = lab.policy()
    lab.driver.fails = look
    lab.policies.bind(policy.id, ids)

    assert bound(lab, policy) == ids
    assert len(looks) == 1
    with pytest.raises(ServerNotFound):
        lab.policies.bind(policy.id, [ServerId("many-1"), ServerId("many")])


def test_servers_are_bound_and_let_go(lab: ScheduleLab) -> None:
    policy = lab.policy("s1")
    lab.policies.bind(policy.id, [S2, S1])
    assert bound(lab, policy) == ["s1", "s2"]
    assert lab.policies.get(policy.id).servers[1].name == "web2"
    lab.policies.unbind(policy.id, [S1])
    assert bound(lab, policy) == ["s2"]

    with pytest.raises(InvalidPolicy, match="s1 is not bound"):
        lab.policies.unbind(policy.id, [S1])
    with pytest.raises(ServerNotFound):
        lab.policies.bind(policy.id, [ServerId("nobody")])
    way_out = f"web2 is bound to policy {policy.name} already; `csbs policy unbind"
    with pytest.raises(ServerBound, match=way_out):
        lab.policies.bind(lab.policy().id, [S2])


def test_a_server_that_is_gone_hinders_no_other(lab: ScheduleLab) -> None:
    policy = lab.policy("s1")
    del lab.driver.servers[S1]
    lab.policies.bind(policy.id, [S2])
    assert bound(lab, policy) == ["s1", "s2"]


def test_a_policy_has_64_servers_at_most(lab: ScheduleLab) -> None:
    ids = [ServerId(f"n{number}") for number in range(65)]
    for each in ids:
        lab.driver.add_server(each, each)
    policy = lab.policy(*ids[:63])
    with pytest.raises(QuotaExceeded):
        lab.policies.bind(policy.id, ids[63:])
    assert len(lab.policies.bind(policy.id, ids[63:64]).servers) == 64


def test_a_server_that_is_tagged_is_bound_at_once(lab: ScheduleLab) -> None:
    older = lab.policy(auto_bind=[PROD])
    lab.now += timedelta(seconds=1)
    newer = lab.policy(auto_bind=[PROD, Tag("tier", "1")])

    ref, tags = lab.binding.tag("web1", [PROD, Tag("tier", "1")])

    assert (ref.id, tags) == (S1, (PROD, Tag("tier", "1")))
    assert (bound(lab, older), bound(lab, newer)) == (["s1"], [])
    assert lab.binding.tags() == {S1: tags}
    lab.tick(HOUR)
    assert [each.server_id for each in lab.backups()] == ["s1"]


def test_a_tag_is_changed_and_taken_away(lab: ScheduleLab) -> None:
    lab.binding.tag("web1", [PROD, Tag("a", "b")])
    lab.binding.tag("web1", [Tag("env", "test")], removed=["a", "absent"])

    assert lab.binding.tags_of("web1")[1] == (Tag("env", "test"),)
    with pytest.raises(TooManyTags):
        lab.binding.tag("web1", [Tag(f"k{number}", "") for number in range(10)])
    assert lab.binding.tags_of("web1")[1] == (Tag("env", "test"),)


def test_a_look_finds_new_servers(lab: ScheduleLab) -> None:
    policy = lab.policy(auto_bind=[])
    lab.binding.bind_by_rules()
    assert bound(lab, policy) == ["s1", "s2"]
    lab.driver.add_server("s3", "web3")
    lab.binding.bind_by_rules()
    assert bound(lab, policy) == ["s1", "s2", "s3"]


def test_a_look_asks_the_host_only_where_a_rule_is(lab: ScheduleLab) -> None:
    lab.policy("s1")

    def not_asked() -> list[ServerRef]:
        raise AssertionError

    lab.driver.fails = not_asked
    lab.binding.bind_by_rules()


def test_servers_of_a_policy_are_not_taken(lab: ScheduleLab) -> None:
    by_hand = lab.policy("s1")
    rule = lab.policy(auto_bind=[])
    lab.binding.bind_by_rules()
    assert (bound(lab, by_hand), bound(lab, rule)) == (["s1"], ["s2"])


def test_who_was_let_go_stays_out_until_he_is_tagged_or_bound_again(lab: ScheduleLab) -> None:
    policy = lab.policy(auto_bind=[])
    lab.binding.bind_by_rules()
    lab.policies.unbind(policy.id, [S1])
    lab.binding.bind_by_rules()
    assert bound(lab, policy) == ["s2"]
    lab.binding.tag("web1", [], removed=["a"])
    assert bound(lab, policy) == ["s2"]

    lab.binding.tag("web1", [PROD])
    assert bound(lab, policy) == ["s2", "s1"]
    lab.change(policy, servers=[lab.bound("s2")])
    lab.binding.bind_by_rules()
    assert bound(lab, policy) == ["s2"]
    lab.policies.bind(policy.id, [S1])
    lab.policies.delete(policy.id)
    rule = lab.policy(auto_bind=[])
    lab.binding.bind_by_rules()
    assert bound(lab, rule) == ["s1", "s2"]


def test_a_rule_is_changed_and_taken_away(lab: ScheduleLab) -> None:
    policy = lab.policy(auto_bind=[PROD])
    assert lab.policies.get(policy.id).auto_bind == (PROD,)
    assert lab.change(policy, auto_bind=[]).auto_bind == ()
    assert lab.change(policy, description="d").auto_bind == ()
    lab.change(policy, stop_auto_bind=True)
    assert lab.policies.get(policy.id).auto_bind is None
    lab.binding.bind_by_rules()
    assert bound(lab, policy) == []

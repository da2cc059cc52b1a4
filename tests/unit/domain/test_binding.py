"""Which servers policies take by their tags."""

from __future__ import annotations

from dataclasses import replace

from csbs.domain.binding import takes
from csbs.domain.ids import PolicyId, ProjectId, ServerId
from csbs.domain.policy import BoundServer, Policy
from csbs.domain.tags import Tag
from csbs.testing.policy_catalog_contract import make_policy

ENV, TIER = Tag("env", "prod"), Tag("tier", "1")
WEB, DATABASE = ServerId("web"), ServerId("database")


def policy(policy_id: str, *tags: Tag) -> Policy:
    return make_policy(ProjectId("p"), policy_id, auto_bind=tuple(tags))


def test_a_server_needs_all_tags_of_the_rule() -> None:
    strict = policy("strict", ENV, TIER)

    assert takes([strict], {WEB: (ENV,), DATABASE: (ENV, TIER, Tag("x", "y"))}) == {
        strict.id: [DATABASE]
    }
    assert takes([strict], {WEB: (Tag("env", "test"), TIER)}) == {}


def test_a_rule_without_tags_takes_every_server() -> None:
    assert takes([policy("all")], {WEB: (), DATABASE: (ENV,)}) == {PolicyId("all"): [WEB, DATABASE]}


def test_a_policy_without_a_rule_takes_none() -> None:
    assert takes([make_policy(ProjectId("p"))], {WEB: (ENV,)}) == {}


def test_of_two_policies_the_older_wins() -> None:
    older, newer = policy("older", ENV), policy("newer", ENV, TIER)

    assert takes([older, newer], {WEB: (ENV, TIER)}) == {older.id: [WEB]}
    assert takes([newer, older], {WEB: (ENV, TIER)}) == {newer.id: [WEB]}


def test_a_full_policy_takes_no_more_and_the_next_one_does() -> None:
    bound = tuple(BoundServer(id=ServerId(f"s{n}"), kind="k", name="n") for n in range(63))
    nearly_full = replace(policy("older"), servers=bound)
    newer = policy("newer")

    assert takes([nearly_full, newer], {WEB: (), DATABASE: ()}) == {
        nearly_full.id: [WEB],
        newer.id: [DATABASE],
    }

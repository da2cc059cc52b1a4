"""Which servers policies take by themselves, by tags: a pure rule.

A policy with a rule takes each server that has all tags of the rule and belongs to no policy; a
rule without tags takes every server.  Where several would take one, the oldest policy that has room
wins.  What somebody took out of a policy stays out until he binds or tags it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from csbs.domain.ids import PolicyId, ServerId
from csbs.domain.policy import Policy
from csbs.domain.quota import SERVERS_PER_POLICY_MAX
from csbs.domain.tags import Tag


def takes(
    policies: Sequence[Policy], free: Mapping[ServerId, Collection[Tag]]
) -> dict[PolicyId, list[ServerId]]:
    """For each policy the servers that it takes; `policies` from the oldest to the newest.

    `free` has the tags of servers that belong to no policy.
    """
    taken: dict[PolicyId, list[ServerId]] = {}
    room = {each.id: SERVERS_PER_POLICY_MAX - len(each.servers) for each in policies}
    for server_id, tags in free.items():
        for policy in policies:
            if room[policy.id] > 0 and _wants(policy, tags):
                taken.setdefault(policy.id, []).append(server_id)
                room[policy.id] -= 1
                break
    return taken


def _wants(policy: Policy, tags: Collection[Tag]) -> bool:
    return policy.auto_bind is not None and set(policy.auto_bind) <= set(tags)

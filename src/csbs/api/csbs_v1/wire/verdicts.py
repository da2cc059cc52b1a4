"""Answers to `check_protectable` and `check_restorable`."""

from __future__ import annotations

from typing import Any

from csbs.api.csbs_v1.wire.codes import entry, sentence
from csbs.services.checks import Verdict


def verdict_body(verdict: Verdict, resource_id: str, resource_type: str) -> dict[str, Any]:
    """One answer.  A server that is bound to a policy can be backed up, and is said to be."""
    refusal, note = verdict.refusal, ""
    if verdict.policy_id is not None:
        note = f"Server ({resource_id}) is bound to policy ({verdict.policy_id})."
    return {
        "result": refusal is None,
        "resource_type": resource_type,
        "resource_id": resource_id,
        "error_code": entry(refusal).code if refusal else "",
        "error_msg": sentence(refusal) if refusal else note,
    }

"""Drives huaweicloud-sdk-python through a whole day of CSBS; runs in that client's environment.

The job comes as JSON on standard input: how to connect, and which server.  What the client made of
the answers goes as JSON to standard output.
"""

import collections
import collections.abc
import json
import sys
import threading

# The SDK was written for older Pythons; this is the one thing that it needs.
collections.MutableMapping = collections.abc.MutableMapping

from openstack import connection, exceptions  # noqa: E402  after the line above
from openstack.csbs.v1.policy import Policy  # noqa: E402  likewise
from openstack.csbs.v1.resource import (  # noqa: E402  likewise
    ResourceBackup,
    ResourceBackupCapability,
    ResourceRecoveryCapability,
)

PROVIDER = "fc4d5750-22e7-4798-8a46-f48f62c4c1da"
SERVER = "OS::Nova::Server"
PATTERN = (
    "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nRRULE:FREQ=WEEKLY;BYDAY=TH;BYHOUR=12;BYMINUTE=27\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
)
WAITS_MAX = 600
WAIT_S = 0.2


def main():
    job = json.load(sys.stdin)
    csbs = connection.Connection(**job["connect"]).csbs
    done = {}
    for step in (check, back_up, look, check_restore, policies, delete):
        step(csbs, job["server"], done)
    json.dump(done, sys.stdout)


def check(csbs, server, done):
    questions = [{"resource_id": server, "resource_type": SERVER}]
    answer = csbs._create(
        ResourceBackupCapability,
        prepend_key=False,
        provider_id=PROVIDER,
        check_protectable=questions,
    )
    done["protectable"] = answer.protectable


def back_up(csbs, server, done):
    made = csbs._create(
        ResourceBackup,
        prepend_key=False,
        provider_id=PROVIDER,
        resource_id=server,
        protect={"backup_name": "by-the-sdk", "description": "d", "incremental": True},
    )
    done["checkpoint"] = {"id": made.id, "status": made.status, "plan": made.protection_plan}
    (item,) = csbs.checkpoint_items(checkpoint_id=made.id)
    done["item_id"] = item.id
    done["available"] = wait(csbs, item.id)


def wait(csbs, item_id):
    for _ in range(WAITS_MAX):
        item = csbs.get_checkpoint_item(item_id)
        if item.status != "protecting":
            break
        threading.Event().wait(WAIT_S)
    return {
        "status": item.status,
        "name": item.name,
        "resource_id": item.resource_id,
        "created_at": item.created_at,
        "extend_info": item.extend_info,
    }


def look(csbs, server, done):
    found = list(csbs.checkpoint_items(resource_id=server, status="available", limit=10))
    done["listed"] = [each.id for each in found]
    done["counted"] = csbs.get_checkpoint_item_count(resource_id=server).count


def check_restore(csbs, server, done):
    volumes = [
        {"backup_id": each["id"], "volume_id": each["source_volume_id"]}
        for each in done["available"]["extend_info"]["volume_backups"]
    ]
    target = {"resource_id": server, "resource_type": SERVER, "volumes": volumes}
    answer = csbs._create(
        ResourceRecoveryCapability,
        prepend_key=False,
        provider_id=PROVIDER,
        check_restorable=[{"checkpoint_item_id": done["item_id"], "target": target}],
    )
    done["restorable"] = answer.restorable


def policies(csbs, server, done):
    operation = {
        "name": "s1",
        "enabled": True,
        "operation_type": "backup",
        "operation_definition": {"max_backups": 20, "permanent": False},
        "trigger": {"properties": {"pattern": PATTERN}},
    }
    policy = csbs._create(
        Policy,
        name="by-the-sdk",
        description="d",
        provider_id=PROVIDER,
        parameters={"common": {}},
        resources=[{"id": server, "type": SERVER, "name": "web"}],
        scheduled_operations=[operation],
    )
    done["policy"] = {"status": policy.status, "operations": policy.scheduled_operations}
    csbs._update(Policy, policy.id, name="renamed")
    done["policies"] = [each.name for each in csbs._list(Policy, paginated=True)]
    run = csbs.create_checkpoint(
        PROVIDER,
        plan_id=policy.id,
        parameters={"auto_trigger": False, "resources": [server]},
    )
    done["run"] = {"plan": run.protection_plan["id"], "policy": policy.id}
    (item,) = csbs.checkpoint_items(checkpoint_id=run.id)
    done["second"] = wait(csbs, item.id)
    csbs.delete_checkpoint(run.id, PROVIDER)
    csbs._delete(Policy, policy.id, ignore_missing=False)
    done["policies_at_the_end"] = [each.name for each in csbs._list(Policy, paginated=True)]


def delete(csbs, _server, done):
    csbs.delete_checkpoint(done["checkpoint"]["id"], PROVIDER, checkpoint_items=done["item_id"])
    for _ in range(WAITS_MAX):
        try:
            done["deleting"] = csbs.get_checkpoint_item(done["item_id"]).status
        except exceptions.ResourceNotFound as error:
            done["gone"] = str(error)
            break
        threading.Event().wait(WAIT_S)


main()

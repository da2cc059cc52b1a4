"""Drives python-karborclient through a whole day; runs in that client's environment.

See `huaweicloud.py`: a job as JSON comes in, what the client made of the answers goes out.
"""

import json
import sys
import threading

from karborclient import client
from karborclient.common.apiclient import exceptions
from keystoneauth1 import loading, session

PROVIDER = "fc4d5750-22e7-4798-8a46-f48f62c4c1da"
SERVER = "OS::Nova::Server"
WAITS_MAX = 600
WAIT_S = 0.2


def main():
    job = json.load(sys.stdin)
    karbor = connected(job)
    done = {}
    for step in (look, plans, back_up, restore, delete):
        step(karbor, job, done)
    json.dump(done, sys.stdout)


def connected(job):
    if "token" in job:
        return client.Client("1", endpoint=job["endpoint"], token=job["token"])
    plugin = loading.get_plugin_loader("password").load_from_options(**job["auth"])
    return client.Client(
        "1",
        session=session.Session(auth=plugin),
        service_type="data-protect",
        region_name="local",
    )


def look(karbor, job, done):
    done["providers"] = [each.id for each in karbor.providers.list()]
    done["protectables"] = [each.protectable_type for each in karbor.protectables.list()]
    instances = karbor.protectables.list_instances(SERVER)
    done["instances"] = [each.id for each in instances]
    instance = karbor.protectables.get_instance(SERVER, job["server"])
    done["disks"] = len(instance.dependent_resources)
    done["quota"] = karbor.quotas.get(job["project"], False).plans


def plans(karbor, job, done):
    resources = [{"id": job["server"], "type": SERVER, "name": "web"}]
    plan = karbor.plans.create("by-karbor", PROVIDER, resources, {}, description="d")
    karbor.plans.update(plan.id, {"name": "renamed"})
    done["plan"] = plan.id
    done["plans"] = [(each.id, each.name, each.status) for each in karbor.plans.list()]
    done["triggers"] = len(karbor.triggers.list())
    done["operations"] = len(karbor.scheduled_operations.list())


def back_up(karbor, _job, done):
    made = karbor.checkpoints.create(PROVIDER, done["plan"])
    done["checkpoint"] = made.id
    for _ in range(WAITS_MAX):
        found = karbor.checkpoints.get(PROVIDER, made.id)
        if found.status != "protecting":
            break
        threading.Event().wait(WAIT_S)
    done["status"] = found.status
    done["checkpoints"] = [each.id for each in karbor.checkpoints.list(PROVIDER)]


def restore(karbor, _job, done):
    made = karbor.restores.create(PROVIDER, done["checkpoint"], None, {}, None)
    for _ in range(WAITS_MAX):
        found = karbor.restores.get(made.id)
        if found.status != "in_progress":
            break
        threading.Event().wait(WAIT_S)
    done["restore"] = (found.status, found.checkpoint_id)
    done["restores"] = [each.id == made.id for each in karbor.restores.list()]


def delete(karbor, _job, done):
    karbor.checkpoints.delete(PROVIDER, done["checkpoint"])
    for _ in range(WAITS_MAX):
        try:
            karbor.checkpoints.get(PROVIDER, done["checkpoint"])
        except exceptions.NotFound:
            done["gone"] = True
            break
        threading.Event().wait(WAIT_S)
    karbor.plans.delete(done["plan"])
    for _ in range(WAITS_MAX):  # a task ends a moment after its backup is gone
        logs = karbor.operation_logs.list()
        if all(each.status != "deleting" for each in logs):
            break
        threading.Event().wait(WAIT_S)
    done["logs"] = sorted((each.operation_type, each.status) for each in logs)
    done["plans_at_the_end"] = len(karbor.plans.list())


main()

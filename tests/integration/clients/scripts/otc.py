"""Drives otcextensions (over openstacksdk) through a whole day; runs in that client's environment.

Its CSBS proxy has no calls of its own: it finds the service, logs in, and is asked for paths.  See
`huaweicloud.py`: a job as JSON comes in, what the client made of the answers goes out.
"""

import json
import sys
import threading

import openstack
from openstack import exceptions
from otcextensions import sdk

PROVIDER = "/providers/fc4d5750-22e7-4798-8a46-f48f62c4c1da"
SERVER = "OS::Nova::Server"
WAITS_MAX = 600
WAIT_S = 0.2


def main():
    job = json.load(sys.stdin)
    connection = openstack.connect(
        load_yaml_config=False, load_envvars=False, region_name="local", **job["connect"]
    )
    sdk.load(connection)
    done = {
        "project": connection.current_project_id,
        "projects": [each.name for each in connection.identity.projects()],
        "services": sorted(each["type"] for each in connection.service_catalog),
    }
    for step in (back_up, restore, tag, refuse, delete):
        step(connection.csbs, job, done)
    json.dump(done, sys.stdout)


def answer(response):
    exceptions.raise_from_response(response)
    return response.json() if response.content else {}


def back_up(csbs, job, done):
    asked = {"check_protectable": [{"resource_id": job["server"], "resource_type": SERVER}]}
    done["protectable"] = answer(csbs.post(f"{PROVIDER}/resources/action", json=asked))
    protect = {"protect": {"backup_name": "by-otc", "tags": [{"key": "env", "value": "test"}]}}
    made = answer(csbs.post(f"{PROVIDER}/resources/{job['server']}/action", json=protect))
    done["checkpoint"] = made["checkpoint"]["id"]
    done["item"] = until(csbs, done["checkpoint"], "available")


def until(csbs, checkpoint, status):
    for _ in range(WAITS_MAX):
        found = answer(csbs.get("/checkpoint_items", params={"checkpoint_id": checkpoint}))
        (item,) = found["checkpoint_items"]
        if item["status"] in {status, "error"}:
            return item
        threading.Event().wait(WAIT_S)
    return item


def restore(csbs, job, done):
    item = done["item"]
    volumes = [
        {"backup_id": each["id"], "volume_id": each["source_volume_id"]}
        for each in item["extend_info"]["volume_backups"]
    ]
    parameters = {
        "checkpoint_item_id": item["id"],
        "power_on": True,
        "targets": {"server_id": job["server"], "volumes": volumes},
    }
    wanted = {
        "provider_id": PROVIDER.rpartition("/")[2],
        "checkpoint_id": done["checkpoint"],
        "parameters": parameters,
    }
    made = answer(csbs.post("/restores", json={"restore": wanted}))["restore"]
    done["restore"] = made["status"]
    done["restored"] = until(csbs, done["checkpoint"], "available")["status"]


def tag(csbs, _job, done):
    path = f"/csbs_backup/{done['item']['id']}/tags"
    answer(csbs.post(path, json={"tag": {"key": "more"}}))
    done["tags"] = answer(csbs.get(path))["tags"]
    asked = {"action": "filter", "tags": [{"key": "env", "values": ["test"]}]}
    found = answer(csbs.post("/csbs_backup/resource_instances/action", json=asked))
    done["tagged"] = [each["resource_name"] for each in found["resources"]]


def refuse(csbs, _job, done):
    try:
        answer(csbs.get("/checkpoint_items/no-such-backup"))
    except exceptions.NotFoundException as error:
        done["refusal"] = str(error)


def delete(csbs, _job, done):
    answer(csbs.delete(f"{PROVIDER}/checkpoints/{done['checkpoint']}"))
    for _ in range(WAITS_MAX):
        response = csbs.get(f"/checkpoint_items/{done['item']['id']}")
        done["gone"] = response.status_code
        if response.status_code == 404:
            break
        threading.Event().wait(WAIT_S)


main()

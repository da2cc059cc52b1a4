"""Use cases about policies, from what a caller sends to what he gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from csbs.documents.backups import BackupDocument
from csbs.documents.base import DeletedObject, Reference
from csbs.documents.policies import (
    BegunDocument,
    NewPolicyBody,
    PolicyBody,
    PolicyChangeBody,
    PolicyDetails,
    PolicyDocument,
    PolicyList,
    PolicyRunBody,
    RunDocument,
    ServersBody,
    ServerTagsBody,
    ServerTagsDocument,
)
from csbs.documents.previews import PreviewDocument
from csbs.domain.ids import PolicyId, ServerId
from csbs.domain.lookup import matching
from csbs.domain.policy import (
    BoundServer,
    InvalidPolicy,
    NewPolicy,
    NewSchedule,
    Policy,
    PolicyChange,
)
from csbs.domain.recurrence import InvalidPattern
from csbs.domain.server import ServerRef
from csbs.domain.spoken_rule import pattern_of
from csbs.domain.tags import Tag, checked_tags

if TYPE_CHECKING:  # who only reads documents needs no catalog
    from csbs.domain.task import Watcher
    from csbs.services.project_app import App

_SERVER_KIND = "OS::Nova::Server"
_RUNS_SHOWN = 5


def listed(app: App) -> PolicyList:
    """All policies."""
    return PolicyList(policies=documents(app, app.protection.policies.list_all()))


def documents(app: App, found: Sequence[Policy]) -> list[PolicyDocument]:
    """These policies, as they are now."""
    return [_document(app, each) for each in found]


def detailed(app: App, wanted: str) -> PolicyDetails:
    """One policy.  Raises `PolicyNotFound`."""
    return _details(app, app.protection.policies.find(wanted))


def created(app: App, new: NewPolicyBody) -> PolicyDetails:
    """Makes a policy.  Raises what `PolicyService.create` raises."""
    schedule = _schedule(new, permanent=False)
    _require_times(schedule)
    wanted = NewPolicy(
        name=new.name,
        description=new.description or "",
        parameters={"common": {}},
        servers=[
            BoundServer(id=each, kind=_SERVER_KIND, name="") for each in _ids(app, new.servers)
        ],
        schedules=[] if schedule is None else [schedule],
        auto_bind=_rule(new),
    )
    with _naming_times(new):
        made = app.protection.policies.create(wanted)
    return _details(app, _bound_by_rules(app, made.id, new))


def changed(app: App, wanted: str, change: PolicyChangeBody) -> PolicyDetails:
    """Changes a policy.  Raises what `PolicyService.change` raises."""
    present = app.protection.policies.find(wanted)
    schedule = _schedule(change, permanent=None if present.schedules else False)
    if not present.schedules:
        _require_times(schedule)
    said = PolicyChange(
        name=change.name,
        description=change.description,
        schedules=None if schedule is None else [schedule],
        auto_bind=_rule(change),
        stop_auto_bind=change.stop_auto_bind,
    )
    with _naming_times(change):
        app.protection.policies.change(present.id, said)
    return _details(app, _bound_by_rules(app, present.id, change))


def deleted(app: App, wanted: str) -> DeletedObject:
    """Deletes a policy; its backups stay.  Raises `PolicyNotFound`."""
    present = app.protection.policies.find(wanted)
    app.protection.policies.delete(present.id)
    return DeletedObject(deleted=present.id, name=present.name)


def bound(app: App, wanted: str, servers: ServersBody) -> PolicyDetails:
    """Binds servers.  Raises what `PolicyService.bind` raises."""
    present = app.protection.policies.find(wanted)
    return _details(app, app.protection.policies.bind(present.id, _ids(app, servers.servers)))


def unbound(app: App, wanted: str, servers: ServersBody) -> PolicyDetails:
    """Lets servers go; they need not be there any more.  Raises `InvalidPolicy`."""
    present = app.protection.policies.find(wanted)
    ids = _bound_ids(present, servers.servers)
    return _details(app, app.protection.policies.unbind(present.id, ids))


def begun(app: App, wanted: str, body: PolicyRunBody, *, operator: bool) -> BegunDocument:
    """Begins a run.  Raises what `PolicyService.run` raises."""
    present = app.protection.policies.find(wanted)
    ids = None if body.servers is None else _bound_ids(present, body.servers)
    made = app.protection.policies.run(present.id, ids)
    return BegunDocument(
        policy=Reference(id=present.id, name=present.name),
        backups=[BackupDocument.of(each, operator=operator) for each in made],
    )


def carried_out(app: App, wanted: str, body: PolicyRunBody, watcher: Watcher) -> BegunDocument:
    """Makes a run here, one server after the other."""
    present = app.protection.policies.find(wanted)
    ids = None if body.servers is None else _bound_ids(present, body.servers)
    made = app.protection.policies.run_here(present.id, ids, watcher)
    return BegunDocument(
        policy=Reference(id=present.id, name=present.name),
        backups=[BackupDocument.of(each, operator=True) for each in made],
    )


def previewed(app: App, wanted: str, at: datetime | None) -> PreviewDocument:
    """What a policy keeps and removes.  Raises `PolicyNotFound`, `InvalidPolicy`."""
    present = app.protection.policies.find(wanted)
    return PreviewDocument.of(app.protection.preview.preview(present, at))


def tags_of(app: App, server: str) -> ServerTagsDocument:
    """A server's tags.  Raises `ServerNotFound`, `ServerAmbiguous`."""
    return _tags(app, *app.protection.binding.tags_of(server))


def tagged(app: App, server: str, body: ServerTagsBody) -> ServerTagsDocument:
    """Gives and takes tags.  Raises what `BindingService.tag` raises."""
    new = checked_tags(body.tags.items())
    return _tags(app, *app.protection.binding.tag(server, new, body.remove))


def _tags(app: App, server: ServerRef, tags: Sequence[Tag]) -> ServerTagsDocument:
    policies = app.protection.policies
    policy_id = policies.of_server(server.id)
    policy = None if policy_id is None else policies.get(policy_id)
    return ServerTagsDocument(
        server=Reference(id=server.id, name=server.name),
        tags={tag.key: tag.value for tag in tags},
        policy=None if policy is None else Reference(id=policy.id, name=policy.name),
    )


def _document(app: App, policy: Policy) -> PolicyDocument:
    policies = app.protection.policies
    return PolicyDocument.of(
        policy,
        region_zone=policies.region_zone,
        rpo_grace=policies.rpo_grace,
        at=policies.clock(),
    )


def _details(app: App, policy: Policy) -> PolicyDetails:
    found = app.protection.policies.runs(policy.id, limit=_RUNS_SHOWN)
    left = app.protection.policies.backups_of(found)
    plain = _document(app, policy)
    return PolicyDetails(
        **{name: getattr(plain, name) for name in PolicyDocument.model_fields},
        runs=[RunDocument.of(each, left.get(each.id, {})) for each in found],
    )


def _ids(app: App, names: Sequence[str]) -> list[ServerId]:
    return [app.servers.find(each).id for each in names]


def _bound_ids(policy: Policy, names: Sequence[str]) -> list[ServerId]:
    ids = []
    bound = [ServerRef(each.id, each.called) for each in policy.servers]
    for name in names:
        found = matching(bound, name)
        if len(found) != 1:
            why = f"several servers of policy {policy.name} are called {name[:64]!r}"
            if not found:
                why = f"{name[:64]!r} is not bound to policy {policy.name}"
            raise InvalidPolicy("servers", why)
        ids.append(found[0].id)
    return ids


def _schedule(body: PolicyBody, *, permanent: bool | None = None) -> NewSchedule | None:
    """What is said of it; None: nothing.  `permanent`: where nothing is said of that.

    A new policy keeps all because it has no rule, not because somebody wants it whatever the rules
    say: a rule that comes later holds.
    """
    pattern = None
    if body.at is not None or body.days is not None or body.every_days is not None:
        pattern = pattern_of(body.at or (), body.days or (), body.every_days)
    retention: dict[str, Any] = {}
    if body.retention is not None:
        said = body.retention.model_dump(exclude_none=True)
        retention = {name: None if value == -1 else value for name, value in said.items()}
    if body.timezone is not None:
        retention["timezone"] = body.timezone
    if pattern is None and body.enabled is None and not retention:
        return None
    if permanent is not None:
        retention.setdefault("permanent", permanent)
    return NewSchedule(name="", enabled=body.enabled, pattern=pattern, retention=retention)


def _require_times(schedule: NewSchedule | None) -> None:
    if schedule is not None and schedule.pattern is None:
        raise InvalidPolicy(
            "at",
            "say at which times of the day it runs, such as 02:30; a policy without runs only when "
            "somebody asks, and keeps all",
        )


@contextmanager
def _naming_times(body: PolicyBody) -> Iterator[None]:
    """Who gave times of the day hears of them, not of the pattern that was made of them."""
    try:
        yield
    except InvalidPattern as error:
        if body.at is None:
            raise
        raise InvalidPolicy("at", error.why) from None


def _rule(body: PolicyBody) -> tuple[Tag, ...] | None:
    return None if body.auto_bind is None else checked_tags(body.auto_bind.items())


def _bound_by_rules(app: App, policy_id: PolicyId, body: PolicyBody) -> Policy:
    """The policy, with the servers that its new rule takes."""
    if body.auto_bind is not None:
        app.protection.binding.bind_by_rules()
    return app.protection.policies.get(policy_id)

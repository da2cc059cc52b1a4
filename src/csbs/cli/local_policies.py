"""The use cases of policies on this machine, as commands ask for them (`cli.ports`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from csbs.documents import policy_calls as calls
from csbs.documents.base import DeletedObject
from csbs.documents.policies import (
    BegunDocument,
    NewPolicyBody,
    PolicyChangeBody,
    PolicyDetails,
    PolicyList,
    PolicyRunBody,
    ServersBody,
    ServerTagsBody,
    ServerTagsDocument,
)
from csbs.documents.previews import PreviewDocument
from csbs.domain.task import Watcher
from csbs.services.project_app import App


@dataclass(frozen=True, slots=True)
class LocalPolicies:
    """See `csbs.cli.ports.Policies`."""

    app: App

    def list_all(self) -> PolicyList:
        """All policies."""
        return calls.listed(self.app)

    def show(self, policy: str) -> PolicyDetails:
        """One policy."""
        return calls.detailed(self.app, policy)

    def create(self, new: NewPolicyBody) -> PolicyDetails:
        """Makes a policy."""
        return calls.created(self.app, new)

    def change(self, policy: str, change: PolicyChangeBody) -> PolicyDetails:
        """Changes a policy."""
        return calls.changed(self.app, policy, change)

    def delete(self, policy: str) -> DeletedObject:
        """Deletes a policy."""
        return calls.deleted(self.app, policy)

    def bind(self, policy: str, servers: ServersBody) -> PolicyDetails:
        """Binds servers."""
        return calls.bound(self.app, policy, servers)

    def unbind(self, policy: str, servers: ServersBody) -> PolicyDetails:
        """Lets servers go."""
        return calls.unbound(self.app, policy, servers)

    def run(self, policy: str, body: PolicyRunBody, watcher: Watcher) -> BegunDocument:
        """Makes a run, one server after the other."""
        return calls.carried_out(self.app, policy, body, watcher)

    def preview(self, policy: str, at: datetime | None) -> PreviewDocument:
        """What a policy keeps and removes."""
        return calls.previewed(self.app, policy, at)

    def tags(self, server: str) -> ServerTagsDocument:
        """A server's tags."""
        return calls.tags_of(self.app, server)

    def tag(self, server: str, body: ServerTagsBody) -> ServerTagsDocument:
        """Gives and takes tags of a server."""
        return calls.tagged(self.app, server, body)

"""The use cases of policies, in a service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from csbs.client.project import ProjectCalls
from csbs.documents.base import DeletedObject
from csbs.documents.policies import (
    BegunDocument,
    NewPolicyBody,
    PolicyChangeBody,
    PolicyDetails,
    PolicyList,
    PolicyPage,
    PolicyRunBody,
    ServersBody,
    ServerTagsBody,
    ServerTagsDocument,
)
from csbs.documents.previews import PreviewDocument
from csbs.domain.task import Watcher


@dataclass(frozen=True, slots=True)
class RemotePolicies:
    """See `csbs.cli.ports.Policies`."""

    calls: ProjectCalls

    def list_all(self) -> PolicyList:
        """All policies."""
        pages = self.calls.connection.all_of(PolicyPage, *self._path())
        return PolicyList(policies=[each for page in pages for each in page.policies])

    def show(self, policy: str) -> PolicyDetails:
        """One policy."""
        return self.calls.connection.get(PolicyDetails, *self._path(policy))

    def create(self, new: NewPolicyBody) -> PolicyDetails:
        """Makes a policy."""
        return self.calls.connection.ask("POST", PolicyDetails, *self._path(), body=new)

    def change(self, policy: str, change: PolicyChangeBody) -> PolicyDetails:
        """Changes a policy."""
        path = self._path(policy)
        return self.calls.connection.ask("PATCH", PolicyDetails, *path, body=change)

    def delete(self, policy: str) -> DeletedObject:
        """Deletes a policy."""
        return self.calls.connection.ask("DELETE", DeletedObject, *self._path(policy))

    def bind(self, policy: str, servers: ServersBody) -> PolicyDetails:
        """Binds servers."""
        path = self._path(policy, "bind")
        return self.calls.connection.ask("POST", PolicyDetails, *path, body=servers)

    def unbind(self, policy: str, servers: ServersBody) -> PolicyDetails:
        """Lets servers go."""
        path = self._path(policy, "unbind")
        return self.calls.connection.ask("POST", PolicyDetails, *path, body=servers)

    def run(self, policy: str, body: PolicyRunBody, watcher: Watcher) -> BegunDocument:
        """Begins a run, and does not wait for it."""
        del watcher
        path = self._path(policy, "run")
        return self.calls.connection.ask("POST", BegunDocument, *path, body=body)

    def preview(self, policy: str, at: datetime | None) -> PreviewDocument:
        """What a policy keeps and removes."""
        query = None if at is None else {"at": at.isoformat()}
        return self.calls.connection.get(
            PreviewDocument, *self._path(policy, "preview"), query=query
        )

    def tags(self, server: str) -> ServerTagsDocument:
        """A server's tags."""
        path = (*self.calls.path, "servers", server, "tags")
        return self.calls.connection.get(ServerTagsDocument, *path)

    def tag(self, server: str, body: ServerTagsBody) -> ServerTagsDocument:
        """Gives and takes tags of a server."""
        path = (*self.calls.path, "servers", server, "tags")
        return self.calls.connection.ask("POST", ServerTagsDocument, *path, body=body)

    def _path(self, *more: str) -> tuple[str, ...]:
        return (*self.calls.path, "policies", *more)

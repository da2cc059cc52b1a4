"""Tags of servers, and policies that bind servers by them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from csbs.catalog import Catalog, Transaction, policies, server_tags
from csbs.catalog.servers import remember_server
from csbs.domain.binding import takes
from csbs.domain.clock import Clock
from csbs.domain.ids import PolicyId, ProjectId, ServerId
from csbs.domain.policy import BoundServer
from csbs.domain.server import ServerRef
from csbs.domain.tags import Tag, with_tags
from csbs.services.policies import SERVER_KIND
from csbs.services.servers import ServerService

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingService:
    """What a caller may ask for about tags of servers."""

    catalog: Catalog
    project_id: ProjectId
    servers: ServerService
    clock: Clock

    def tags(self) -> dict[ServerId, tuple[Tag, ...]]:
        """Of all servers that have some."""
        with self.catalog.transaction() as transaction:
            return server_tags.of_project(transaction, self.project_id)

    def tags_of(self, wanted: str) -> tuple[ServerRef, tuple[Tag, ...]]:
        """The server with its tags.  Raises `ServerNotFound`, `ServerAmbiguous`."""
        server = self.servers.find(wanted)
        with self.catalog.transaction() as transaction:
            found = server_tags.of_server(transaction, self.project_id, server.id)
        return ServerRef(server.id, server.name), found

    def tag(
        self, wanted: str, new: Collection[Tag], removed: Collection[str] = ()
    ) -> tuple[ServerRef, tuple[Tag, ...]]:
        """Gives the server tags, takes away those with these keys, and returns what it has now.

        Policies that bind by tags take it at once, if it belongs to none; one that a person let go
        only where it gets a tag.  Raises what `tags_of` raises, and `TooManyTags`.
        """
        server = self.servers.find(wanted)
        ref = ServerRef(server.id, server.name)
        with self.catalog.transaction() as transaction:
            remember_server(transaction, self.project_id, server.id, server.name)
            present = server_tags.of_server(transaction, self.project_id, server.id)
            kept = [tag for tag in present if tag.key not in removed]
            tags = with_tags(server.name, kept, new)
            server_tags.set_of_server(transaction, self.project_id, server.id, tags)
            if new:
                server_tags.keep_unbound(transaction, self.project_id, [server.id], keep=False)
            self._bind(transaction, [ref])
        return ref, tags

    def bind_by_rules(self) -> None:
        """Looks at all servers of the project, and binds those that policies take by their tags.

        The host is asked only if there is such a policy.  Raises what the driver raises.
        """
        with self.catalog.transaction() as transaction:
            found = policies.of_project(transaction, self.project_id)
        if any(each.auto_bind is not None for each in found):
            present = self.servers.refs()
            with self.catalog.transaction() as transaction:
                self._bind(transaction, present)

    def _bind(self, transaction: Transaction, present: Sequence[ServerRef]) -> None:
        not_free = server_tags.not_for_rules(transaction, self.project_id)
        tags = server_tags.of_project(transaction, self.project_id)
        free = {each.id: each for each in present if each.id not in not_free}
        found = policies.of_project(transaction, self.project_id)
        taken = takes(found, {server_id: tags.get(server_id, ()) for server_id in free})
        for policy in found:
            new = [free[server_id] for server_id in taken.get(policy.id, ())]
            if not new:
                continue
            for server in new:
                remember_server(transaction, self.project_id, server.id, server.name)
            bound = [BoundServer(id=each.id, kind=SERVER_KIND, name=each.name) for each in new]
            servers = (*policy.servers, *bound)
            policies.save(transaction, replace(policy, servers=servers, updated_at=self.clock()))
            self._tell(policy.id, new)

    def _tell(self, policy_id: PolicyId, new: Sequence[ServerRef]) -> None:
        names = ", ".join(each.name for each in new)
        log.info("servers were bound by their tags", extra={"policy_id": policy_id, "new": names})

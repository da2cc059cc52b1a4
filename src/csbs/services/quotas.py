"""Quotas: what a project may have, and what it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from csbs.catalog import Catalog, Transaction, backups, policies, quotas
from csbs.domain.ids import ProjectId
from csbs.domain.policy import TooManyPolicies
from csbs.domain.quota import Quotas, Usage, checked_limit, require_room_for_backups


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaService:
    """What a caller may ask for about quotas."""

    catalog: Catalog
    project_id: ProjectId

    def show(self) -> tuple[Quotas, Usage]:
        """The limits, and what counts against them."""
        with self.catalog.reading() as transaction:
            return quotas.of_project(transaction, self.project_id), self._usage(transaction)

    def change(self, limits: Mapping[str, int]) -> Quotas:
        """Sets limits, by the names of `Quotas`; -1: no limit.  Raises `InvalidQuota`.

        A limit below what is used is taken: nothing is lost by it, and nothing can be added.
        """
        checked = {name: checked_limit(name, limit) for name, limit in limits.items()}
        with self.catalog.transaction() as transaction:
            for name, limit in checked.items():
                quotas.set_limit(transaction, self.project_id, name, limit)
            return quotas.of_project(transaction, self.project_id)

    def require_backup(self, transaction: Transaction) -> None:
        """For the transaction that has entered a backup.  Raises `QuotaExceeded`."""
        self.require_room(transaction, 0)

    def require_backups(self, count: int) -> None:
        """Raises `QuotaExceeded` if there is no room for so many backups more."""
        with self.catalog.transaction() as transaction:
            self.require_room(transaction, count)

    def require_policy(self, transaction: Transaction) -> None:
        """For the transaction that has entered a policy.  Raises `TooManyPolicies`."""
        most = quotas.of_project(transaction, self.project_id).policies
        if most is not None and policies.count(transaction, self.project_id) > most:
            raise TooManyPolicies(self.project_id, most)

    def require_room(self, transaction: Transaction, count: int) -> None:
        """Raises `QuotaExceeded` if there is no room for so many backups more."""
        limits = quotas.of_project(transaction, self.project_id)
        if limits.backups is None and limits.backup_bytes is None:
            return
        usage = self._usage(transaction, bytes_too=limits.backup_bytes is not None)
        require_room_for_backups(limits, usage, count)

    def _usage(self, transaction: Transaction, *, bytes_too: bool = True) -> Usage:
        """Adding bytes up takes a while where there are many backups."""
        project_id = self.project_id
        return Usage(
            backups=backups.count(transaction, project_id),
            backup_bytes=backups.storage_bytes(transaction, project_id) if bytes_too else 0,
            policies=policies.count(transaction, project_id),
        )

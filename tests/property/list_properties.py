"""What the catalog lists is what Python would list, on any database."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from csbs.catalog import Catalog, backup_lists, policies, run_lists, tag_lists, task_lists
from csbs.catalog.backup_lists import BackupFilter
from csbs.catalog.run_lists import RunFilter
from csbs.catalog.tag_lists import OF_BACKUPS, OF_POLICIES, TaggedKind
from csbs.catalog.task_lists import TaskFilter, TaskList
from csbs.domain.backup import Backup
from csbs.domain.ids import ProjectId
from csbs.domain.listing import Listing
from csbs.domain.policy import Policy
from csbs.domain.tags import Tag, TagFilter
from csbs.domain.task import TaskKind
from tests.property import list_model as model
from tests.property.list_model import Rows, asked, enter, listings, rows, sliced

#: In a second or so each; every value is drawn from few.
_MANY = settings(max_examples=60)


class ListProperties:
    """Subclass it once for each database; fixtures of the module: a `catalog`, its `project`."""

    @_MANY
    @given(rows(), model.backup_filters, listings)
    def test_backups(
        self,
        catalog: Catalog,
        project: ProjectId,
        made: Rows,
        wanted: BackupFilter,
        listing: Listing,
    ) -> None:
        enter(catalog, project, made)
        is_meant = model.is_backup_meant(made, wanted)

        page = partial(backup_lists.page, project_id=project, wanted=wanted, listing=listing)
        assert asked(catalog, page) == sliced(
            made.backups, listing, model.backup_values(made), is_meant
        )
        with catalog.transaction() as transaction:
            count = backup_lists.count(transaction, project, wanted)
        assert count == sum(map(is_meant, made.backups))

    @_MANY
    @given(rows(), model.run_filters, listings)
    def test_runs(
        self, catalog: Catalog, project: ProjectId, made: Rows, wanted: RunFilter, listing: Listing
    ) -> None:
        enter(catalog, project, made)

        page = partial(run_lists.page, project_id=project, wanted=wanted, listing=listing)
        assert asked(catalog, page) == sliced(
            model.runs_of(made), listing, model.run_values, model.is_run_meant(wanted)
        )

    @_MANY
    @given(rows(), model.task_filters, listings, model.kinds, st.booleans())
    def test_tasks(
        self,
        catalog: Catalog,
        project: ProjectId,
        made: Rows,
        wanted: TaskFilter,
        listing: Listing,
        kind: TaskKind | None,
        words: bool,  # noqa: FBT001  of a property
    ) -> None:
        enter(catalog, project, made)
        listed = TaskList(kind=kind, words=model.WORDS if words else None)

        page = partial(
            task_lists.page, project_id=project, wanted=wanted, listing=listing, listed=listed
        )
        assert asked(catalog, page) == sliced(
            [each for each in made.tasks if kind in {None, each.kind}],
            listing,
            model.task_values(words),
            model.is_task_meant(wanted),
        )

    @_MANY
    @given(rows(), st.none() | model.names, listings)
    def test_policies(
        self,
        catalog: Catalog,
        project: ProjectId,
        made: Rows,
        name: str | None,
        listing: Listing,
    ) -> None:
        enter(catalog, project, made)

        page = partial(policies.page, project_id=project, name=name, listing=listing)
        assert asked(catalog, page, lambda policy: policy.id) == sliced(
            made.policies, listing, model.policy_values, lambda each: name in {None, each.name}
        )

    @_MANY
    @given(rows(), model.tag_filters, st.integers(1, 4), st.integers(0, 3))
    def test_tags(
        self,
        catalog: Catalog,
        project: ProjectId,
        made: Rows,
        wanted: TagFilter,
        limit: int,
        offset: int,
    ) -> None:
        enter(catalog, project, made)
        tagged: dict[TaggedKind, list[tuple[Backup | Policy, Sequence[Tag]]]] = {
            OF_BACKUPS: [(each, made.tags[each.id]) for each in made.backups],
            OF_POLICIES: [(each, each.tags) for each in made.policies],
        }
        for kind, having in tagged.items():
            newest_first = sorted(
                (each for each, tags in having if wanted.matches(each.name, tags)),
                key=lambda each: (each.created_at, each.id),
                reverse=True,
            )
            ids = [each.id for each in newest_first]

            with catalog.transaction() as transaction:
                found = tag_lists.matching(transaction, project, kind, wanted, (limit, offset))
                assert found == ids[offset : offset + limit]
                assert tag_lists.count(transaction, project, kind, wanted) == len(ids)
                every = {tag for _, tags in having for tag in tags}
                assert sorted(tag_lists.in_project(transaction, project, kind)) == sorted(every)

"""What a catalog keeps of users, projects, tokens, keys, assignments and the trail, anywhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from csbs.catalog import (
    Catalog,
    access_keys,
    assignments,
    audit,
    identity_tables,
    projects,
    servers,
    tokens,
    users,
)
from csbs.catalog.access_keys import use_signature
from csbs.catalog.tokens import TokenRow
from csbs.domain.errors import Invalid
from csbs.domain.identity import FoundBy, Match
from csbs.domain.ids import DiskId, ProjectId, ServerId
from csbs.domain.server import ServerRef
from csbs.domain.tenancy import AccessKey, AccessKeyId, Membership, Project, Role, User, UserId
from csbs.testing.catalog_contract import DISK, entered
from csbs.testing.upkeep_contract import event
from csbs.testing.values import START

LATER = START + timedelta(hours=1)
OTHER = Project(id=ProjectId("e" * 32), name="local_other")
NAMES = ("A", "B", "Z", "_", "a", "a-b", "ab", "b", "á", "ß", "中", "\uffff", "😀")


def make_user(name: str) -> User:
    """A user whose id is his name."""
    return User(id=UserId(name), name=name, enabled=True, is_admin=False, created_at=START)


def make_token(user: User, digest: str, project_id: ProjectId | None = None) -> TokenRow:
    """A token that is good for an hour."""
    return TokenRow(
        digest=digest,
        user_id=user.id,
        project_id=project_id,
        of_domain=False,
        methods=("password", "token"),
        issued_at=START,
        expires_at=LATER,
    )


def make_key(user: User, key_id: str) -> AccessKey:
    """A key of the user."""
    return AccessKey(
        id=AccessKeyId(key_id), user_id=user.id, description="for tests", created_at=START
    )


class IdentityCatalogContract:
    """Subclass it once for each database; fixtures: an empty `catalog`, and its `project`."""

    def test_users_are_listed_and_found_by_code_points(self, catalog: Catalog) -> None:
        made = [make_user(name) for name in sorted(NAMES)]
        with catalog.transaction() as transaction:
            for each in reversed(made):
                users.add(transaction, each, f"hash of {each.name}")

        with catalog.transaction() as transaction:
            assert users.everyone(transaction) == made
            for each in made:
                assert users.by_name(transaction, each.name) == each
                assert users.password_hash(transaction, each.id) == f"hash of {each.name}"
            for absent in ("C", "Á", "ss", "a\u0301", " a", "a ", ""):
                assert users.find(transaction, absent) is None

    def test_an_id_wins_over_a_name(self, catalog: Catalog) -> None:
        by_id, by_name = (
            replace(make_user("one"), name="other"),
            replace(make_user("x"), name="one"),
        )
        with catalog.transaction() as transaction:
            for user in (by_name, by_id):
                users.add(transaction, user, "")

            assert users.find(transaction, "one") == by_id
            assert users.by_name(transaction, "one") == by_name

    def test_rights_and_passwords_change(self, catalog: Catalog) -> None:
        user = replace(make_user("mia"), is_admin=True)
        with catalog.transaction() as transaction:
            users.add(transaction, user, "old")
            assert users.administrators(transaction) == 1
            users.set_rights(transaction, user.id, enabled=False, is_admin=True)
            users.set_password_hash(transaction, user.id, "new")

            assert users.administrators(transaction) == 0
            assert users.by_id(transaction, user.id) == replace(user, enabled=False)
            assert users.password_hash(transaction, user.id) == "new"

    def test_a_role_replaces_the_one_before(self, catalog: Catalog, project: ProjectId) -> None:
        user = make_user("mia")
        own = Project(id=project, name="local")
        with catalog.transaction() as transaction:
            users.add(transaction, user, "")
            projects.add(transaction, OTHER)
            for role in (Role.READER, Role.MEMBER):
                users.set_membership(transaction, user.id, project, role)
            users.set_membership(transaction, user.id, OTHER.id, Role.READER)
            both = [Membership(project=own, role=Role.MEMBER)]
            both.append(Membership(project=OTHER, role=Role.READER))
            assert users.memberships_of(transaction, user.id) == both
            users.set_membership(transaction, user.id, OTHER.id, None)
            assert users.memberships_of(transaction, user.id) == both[:1]

    def test_a_user_goes_with_all_that_is_his(self, catalog: Catalog, project: ProjectId) -> None:
        gone, kept = make_user("gone"), make_user("kept")
        with catalog.transaction() as transaction:
            for user in (gone, kept):
                users.add(transaction, user, "")
                users.set_membership(transaction, user.id, project, Role.MEMBER)
                tokens.add(transaction, make_token(user, user.name, project))
                access_keys.add(transaction, make_key(user, user.name.upper()), b"sealed")
            users.remove(transaction, gone.id)

            assert users.everyone(transaction) == [kept]
            assert tokens.by_digest(transaction, "gone") is None
            assert tokens.by_digest(transaction, "kept") == make_token(kept, "kept", project)
            assert access_keys.by_id(transaction, AccessKeyId("GONE")) is None
            found = access_keys.by_id(transaction, AccessKeyId("KEPT"))
            assert found == (make_key(kept, "KEPT"), b"sealed")
            assert users.memberships_of(transaction, gone.id) == []

    def test_tokens_end_one_by_one_or_all(self, catalog: Catalog) -> None:
        user = make_user("mia")
        with catalog.transaction() as transaction:
            users.add(transaction, user, "")
            for digest in ("a", "b", "c"):
                tokens.add(transaction, make_token(user, digest))
            tokens.revoke(transaction, "a")
            there = [tokens.by_digest(transaction, each) is not None for each in "abc"]
            tokens.revoke_all(transaction, user.id)

            assert there == [False, True, True]
            assert tokens.by_digest(transaction, "c") is None

    def test_a_signature_is_used_once_until_it_expires(self, catalog: Catalog) -> None:
        with catalog.transaction() as transaction:
            used = [
                use_signature(transaction, "s", now=now, expires_at=now + timedelta(minutes=30))
                for now in (START, START, START + timedelta(minutes=29), LATER)
            ]

        assert used == [True, False, False, True]

    def test_a_project_goes_with_what_is_left_of_it_but_the_trail(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        user = make_user("mia")
        with catalog.transaction() as transaction:
            users.add(transaction, user, "")
            projects.add(transaction, OTHER)
            users.set_membership(transaction, user.id, OTHER.id, Role.MEMBER)
            tokens.add(transaction, make_token(user, "t", OTHER.id))
            audit.add(transaction, event(START, OTHER.id))
            projects.remove(transaction, OTHER, at=START)

            assert projects.find(transaction, OTHER.name) is None
            assert projects.deleted(transaction) == [OTHER]
            assert users.memberships_of(transaction, user.id) == []
            assert tokens.by_digest(transaction, "t") is None
            assert len(audit.after(transaction, OTHER.id, number=0, limit=9)) == 1
            projects.forget_deleted(transaction, OTHER.id)
            assert projects.deleted(transaction) == []

    def test_projects_are_sorted_by_code_points(self, catalog: Catalog, project: ProjectId) -> None:
        with catalog.transaction() as transaction:
            for number, name in enumerate(NAMES):
                projects.add(transaction, Project(id=ProjectId(f"{number:032}"), name=name))

            found = [each.name for each in projects.all_of_region(transaction)]
        assert found == sorted([*NAMES, "local"])

    def test_what_ties_a_server_and_moves_with_it(
        self, catalog: Catalog, project: ProjectId
    ) -> None:
        entered(catalog, project, 1)
        server = ServerRef(ServerId("new"), "new")
        with catalog.transaction() as transaction:
            projects.add(transaction, OTHER)
            assert assignments.project_of(transaction, server.id) == project
            assert assignments.ties(transaction, project, ServerId("s"))["backups"] == 1
            assert assignments.ties(transaction, OTHER.id, ServerId("s"))["backups"] == 0
            for target in (project, OTHER.id):
                assignments.assign(transaction, server, target)
            found = [(DiskId("d9"), Match(DISK, None, FoundBy.NEW))]
            servers.remember_disks(transaction, OTHER.id, server.id, found)
            assignments.assign(transaction, server, project)

            assert assignments.visible(transaction, project, [server.id]) == {server.id}
            assert assignments.visible(transaction, OTHER.id, [server.id]) == frozenset()
            assert [each.id for each in servers.known_disks(transaction, project, server.id)] == [
                "d9"
            ]

    def test_the_trail_is_read_page_by_page(self, catalog: Catalog, project: ProjectId) -> None:
        with catalog.transaction() as transaction:
            for number in range(5):
                mine = project if number % 2 else None
                audit.add(transaction, event(START + timedelta(hours=number), mine))
            first = audit.after(transaction, None, number=0, limit=2)
            rest = audit.after(transaction, None, number=first[-1].number, limit=9)
            own = audit.after(transaction, project, number=0, limit=9)
            recent = audit.after(transaction, None, number=0, limit=9, since=LATER)

        assert [each.at.hour for each in (*first, *rest)] == [0, 1, 2, 3, 4]
        assert [each.at.hour for each in own] == [1, 3]
        assert [each.at.hour for each in recent] == [1, 2, 3, 4]

    def test_whatever_somebody_sent_is_in_the_trail(self, catalog: Catalog) -> None:
        odd = replace(event(START), user_name="a\0b", target="/\ud800", reason="no 中文 😀")
        with catalog.transaction() as transaction:
            audit.add(transaction, odd)
            [kept] = audit.after(transaction, None, number=0, limit=9)

        kept_fields = (kept.user_name, kept.target, kept.reason)
        assert kept_fields == ("a\ufffdb", "/\ufffd", "no 中文 😀")

    @pytest.mark.parametrize("text", ["a\0b", "\ud800"])
    def test_a_text_that_no_database_takes_is_a_fault_of_who_sent_it(
        self, catalog: Catalog, text: str
    ) -> None:
        with catalog.transaction() as transaction:
            users.add(transaction, make_user("mia"), "")

        with pytest.raises(Invalid), catalog.transaction() as transaction:
            users.find(transaction, text)
        with pytest.raises(Invalid), catalog.transaction() as transaction:
            users.add(transaction, make_user(text), "")

        with catalog.transaction() as transaction:
            count = transaction.scalar(select(func.count()).select_from(identity_tables.users))
        assert count == 1

    def test_who_reads_waits_for_nobody_and_sees_one_moment(self, catalog: Catalog) -> None:
        with catalog.transaction() as transaction:
            users.add(transaction, make_user("mia"), "")

        with catalog.reading() as reading:
            before = users.everyone(reading)
            with catalog.transaction() as transaction:  # which would wait for another of its kind
                users.add(transaction, make_user("olga"), "")
            during = users.everyone(reading)
        with catalog.reading() as reading:
            after = users.everyone(reading)

        assert before == during == [make_user("mia")]
        assert after == [make_user("mia"), make_user("olga")]

"""Opening: new, old, newer, another's and damaged repositories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from csbs.repository import ContentIndex, Repository, text_object
from csbs.repository.errors import CorruptObject, RepositoryOwned, RepositoryTooNew
from csbs.repository.identity import encode_config, encode_owner, new_config
from csbs.repository.objectstore import Bytes, MemoryStore
from csbs.testing.repositories import CATALOG_ID, START, Lab, noise


@pytest.fixture
def lab(store: MemoryStore, tmp_path: Path) -> Iterator[Lab]:
    """A plain repository; encrypted ones are opened in test_unlock.py."""
    lab = Lab(store, tmp_path)
    yield lab
    lab.close()


def opened_by(store: MemoryStore, catalog_id: str, lab: Lab) -> Repository:
    return Repository.open(
        store, name="file:///store", catalog_id=catalog_id, clock=lambda: START, new_id=lab.new_id
    )


def test_a_new_repository_gets_an_identity_once(lab: Lab, store: MemoryStore) -> None:
    before = {each.key: store.get(each.key) for each in store.list("")}
    lab.opened()

    assert sorted(before) == sorted(
        ["config", "owners/00000001", "twins/config", "twins/owners/00000001"]
    )
    assert {each.key: store.get(each.key) for each in store.list("")} == before


def test_two_new_repositories_have_different_keys(lab: Lab) -> None:
    one, other = new_config(START, lab.new_id), new_config(START, lab.new_id)

    assert len({one.digest_key, one.mac_key, other.digest_key, other.mac_key}) == 4


class LateStore(MemoryStore):
    """Another process makes the repository just before the first put arrives."""

    def __init__(self, winners: MemoryStore) -> None:
        super().__init__()
        self._winners = winners

    def put(self, key: str, parts: Sequence[Bytes], *, use_reserve: bool = False) -> None:
        if self._winners.get(key) and key not in self._objects:
            super().put(key, [self._winners.get(key)])
        super().put(key, parts, use_reserve=use_reserve)


def test_who_loses_the_race_for_a_new_repository_uses_the_winners(
    lab: Lab, store: MemoryStore
) -> None:
    late = LateStore(store)
    loser = opened_by(late, lab.new_id(), lab)

    assert late.get("config") == store.get("config")
    with pytest.raises(RepositoryOwned, match=CATALOG_ID):
        loser.require_owner()


def test_a_repository_of_a_newer_format_is_refused_and_not_changed(
    lab: Lab, store: MemoryStore
) -> None:
    fields = text_object.decode("config", text_object.CONFIG_MAGIC, store.get("config"))
    newer = text_object.encode(text_object.CONFIG_MAGIC, {**fields, "format": 2})
    store.replace("config", newer)

    with pytest.raises(RepositoryTooNew, match=r"file:///store has format 2.*Nothing was changed"):
        opened_by(store, CATALOG_ID, lab)
    assert store.get("config") == newer


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 0},
        {"format": "1"},
        {"digest_key": "00"},
        {"digest_key": 5},
        {"mac_key": "zz"},
        {"cipher": "aes"},
        {"block_size_bytes": 4096},
        {"repository_id": "x"},
    ],
    ids=str,
)
def test_a_config_that_makes_no_sense_is_damage(
    lab: Lab, store: MemoryStore, changed: dict[str, object]
) -> None:
    fields = text_object.decode("config", text_object.CONFIG_MAGIC, store.get("config"))
    store.replace("config", text_object.encode(text_object.CONFIG_MAGIC, {**fields, **changed}))
    store.delete("twins/config")

    with pytest.raises(CorruptObject, match="config"):
        opened_by(store, CATALOG_ID, lab)


def test_a_config_that_is_gone_is_never_made_anew(lab: Lab, store: MemoryStore) -> None:
    lab.back_up(noise(1))
    store.delete("config")
    store.delete("twins/config")

    with pytest.raises(CorruptObject, match="config"):
        opened_by(store, CATALOG_ID, lab)
    assert "config" not in {each.key for each in store.list("")}


def test_fields_of_later_versions_are_ignored(lab: Lab, store: MemoryStore) -> None:
    manifest = lab.back_up(noise(1))
    fields = text_object.decode("config", text_object.CONFIG_MAGIC, store.get("config"))
    more = text_object.encode(text_object.CONFIG_MAGIC, {**fields, "later": 1})
    store.replace("config", more)

    assert list(opened_by(store, CATALOG_ID, lab).manifests()) == [manifest]


def test_anothers_repository_is_read_and_not_written(
    lab: Lab, store: MemoryStore, tmp_path: Path
) -> None:
    manifest = lab.back_up(noise(1))
    other = opened_by(store, lab.new_id(), lab)
    index = ContentIndex(tmp_path / "other.sqlite")

    assert other.reader(manifest.images[0]).read(0, 10) == noise(1)[:10]
    with pytest.raises(RepositoryOwned, match=CATALOG_ID):
        other.require_owner()
    with pytest.raises(RepositoryOwned):
        other.begin("b", started_at=START, index=index)
    index.close()


def test_a_take_over_stops_the_former_owner_before_its_commit(lab: Lab, store: MemoryStore) -> None:
    writer = lab.begin()
    store.put("owners/00000002", [encode_owner(lab.new_id(), START)])

    with pytest.raises(RepositoryOwned):
        writer.commit(created_at=START, facts={})
    assert list(lab.repository.manifests()) == []


def test_a_config_is_read_as_it_was_written(lab: Lab, store: MemoryStore) -> None:
    config = new_config(START, lab.new_id)
    other = MemoryStore()
    other.put("config", [encode_config(config)])
    repository = opened_by(other, CATALOG_ID, lab)

    assert repository._opened.config == config
    assert store.get("config") != other.get("config")

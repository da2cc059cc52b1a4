"""A catalog that is lost is made again as the same one."""

from __future__ import annotations

import logging
from pathlib import Path
from uuid import uuid4

import pytest

from csbs.catalog import Catalog, Home, IdentityFile
from csbs.testing.values import START


@pytest.fixture
def file(tmp_path: Path) -> IdentityFile:
    return IdentityFile(tmp_path / "identity.json")


def home_of(path: Path, former: Home | None) -> Home:
    catalog = Catalog.open(path)
    try:
        return catalog.home(clock=lambda: START, new_id=lambda: str(uuid4()), former=former)
    finally:
        catalog.close()


def test_a_lost_catalog_is_made_again_as_the_same(
    file: IdentityFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = home_of(tmp_path / "catalog.sqlite", file.read())
    file.write(first)
    assert caplog.records == []
    (tmp_path / "catalog.sqlite").unlink()
    second = home_of(tmp_path / "catalog.sqlite", file.read())

    assert second == first
    assert "rebuild-catalog" in caplog.text


def test_a_catalog_that_is_there_decides(file: IdentityFile, tmp_path: Path) -> None:
    first = home_of(tmp_path / "catalog.sqlite", None)
    other = home_of(tmp_path / "other.sqlite", None)
    file.write(other)
    again = home_of(tmp_path / "catalog.sqlite", file.read())
    file.write(again)

    assert again == first != other
    assert file.read() == first
    assert [path.name for path in tmp_path.glob("identity*")] == ["identity.json"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"catalog_id": 1}'])
def test_a_file_that_cannot_be_used_is_as_none(
    file: IdentityFile, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    file.path.write_text(content)

    assert file.read() is None
    assert "is not used" in caplog.text


def test_a_folder_that_takes_no_file_stands_in_nobodys_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = home_of(tmp_path / "catalog.sqlite", None)
    IdentityFile(tmp_path / "missing" / "identity.json").write(home)

    assert "was not kept" in caplog.text

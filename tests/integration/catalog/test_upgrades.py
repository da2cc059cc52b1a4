"""A catalog of each former revision, with rows in all of its tables, comes up with all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Engine, MetaData, Table, create_engine, insert, inspect, select

from csbs.catalog.database import migrations_of, open_database
from csbs.catalog.postgres import postgres_engine

#: What texts that point at rows have; in others there is more to lose.
_LONG = "Zürich 中文 😀 '\"\\ %_"
_NOW = datetime(2031, 5, 6, 7, 8, 9, 123456)  # noqa: DTZ001  as it lies in the database


def _earlier() -> list[str]:
    config = migrations_of(create_engine("sqlite://"))
    found = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    return found[:0:-1]


@pytest.fixture
def opened(place: Path | str) -> Iterator[Callable[[], Engine]]:
    made: list[Engine] = []

    def open_plain() -> Engine:
        """Without any migration."""
        if isinstance(place, Path):
            engine = create_engine(f"sqlite:///{place}")
        else:
            engine = postgres_engine(place)
        made.append(engine)
        return engine

    yield open_plain
    for each in made:
        each.dispose()


def _value(table: Table, column: Column[Any]) -> object:
    """Something that fits; what refers to a row refers to the one of its table."""
    if column.foreign_keys or (column.primary_key and column.name in {"id", "digest"}):
        return 1 if column.type.python_type is int else "x"
    if column.name.endswith("_id") or column.type.python_type is not str:
        return _BY_TYPE.get(column.type.python_type, {"a": [1, None]})
    size: int | None = getattr(column.type, "length", None)
    return _LONG[:size]


_BY_TYPE: dict[type, object] = {
    str: "x",
    int: 7,
    bool: True,
    bytes: b"\0\xff",
    datetime: _NOW,
}


def _filled(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """Enters a row into each table, and returns all."""
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            if table.name != "alembic_version":
                row = {each.name: _value(table, each) for each in table.columns}
                connection.execute(insert(table).values(row))
    return _rows(engine)


def _rows(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    metadata = MetaData()
    metadata.reflect(engine)
    with engine.connect() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
            if table.name != "alembic_version"
        }


@pytest.mark.parametrize("revision", _earlier())
def test_rows_of_a_former_revision_are_kept(
    place: Path | str, opened: Callable[[], Engine], revision: str
) -> None:
    engine = opened()
    command.upgrade(migrations_of(engine), revision)
    before = _filled(engine)
    engine.dispose()

    open_database(place).dispose()

    after = _rows(opened())
    assert before.keys() <= after.keys()
    for name, rows in before.items():
        kept = [{key: each.get(key) for key in rows[0]} for each in after[name]]
        assert kept == rows, name


def test_texts_are_sorted_by_code_points_in_tables_of_each_age(
    opened: Callable[[], Engine], place: Path | str
) -> None:
    open_database(place).dispose()
    engine = opened()
    if engine.dialect.name == "sqlite":  # which knows no other order
        return
    found = inspect(engine)

    others = [
        f"{table}.{column['name']}"
        for table in found.get_table_names()
        for column in found.get_columns(table)
        if table != "alembic_version"
        and hasattr(column["type"], "collation")
        and column["type"].collation != "C"
    ]
    assert others == []

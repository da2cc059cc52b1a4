"""Pure parts of the wire: times, codes, JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from csbs.api.csbs_v1.wire.bodies import ProtectBody
from csbs.api.csbs_v1.wire.codes import ENTRIES, code_of, karbor_fault, sentence
from csbs.api.csbs_v1.wire.queries import Query
from csbs.api.csbs_v1.wire.times import parse_time, time_text, trigger_time_text
from csbs.api.errors import RequestInvalid
from csbs.api.json_body import read_body, read_json
from csbs.domain.errors import BackupNotFound, CsbsError, DriverFailed
from tests.meta.tree import ROOT


def test_times_are_utc_with_microseconds_and_without_a_zone() -> None:
    instant = datetime(2031, 5, 6, 9, 8, 9, 123456, tzinfo=timezone(timedelta(hours=2)))

    assert time_text(instant) == "2031-05-06T07:08:09.123456"
    assert time_text(instant.replace(microsecond=0)) == "2031-05-06T07:08:09.000000"
    assert time_text(None) is None
    assert trigger_time_text(instant) == "2031-05-06 07:08:09"


@pytest.mark.parametrize(
    "text",
    [
        "2031-05-06T07:08:09",
        "2031-05-06T07:08:09Z",
        "2031-05-06T07:08:09.000000",
        "2031-05-06 07:08:09",
        "2031-05-06T09:08:09+02:00",
        " 2031-05-06T07:08:09 ",
    ],
)
def test_times_of_filters_are_taken_in_many_forms(text: str) -> None:
    assert parse_time(text) == datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_a_sentence_never_says_what_the_command_line_says() -> None:
    assert sentence(BackupNotFound("x")) == "Backup (x) is not found."
    assert sentence(DriverFailed("web", "", "a call", "/secret/path")) == (
        "The service is not available now; try again."
    )
    assert sentence(CsbsError()) == "Internal error."


def test_a_sentence_is_bounded_whatever_a_client_sent() -> None:
    assert len(sentence(BackupNotFound("x" * 10_000))) < 200


def test_a_cause_is_known_by_the_name_of_its_class() -> None:
    assert code_of("ServerBusy") == "CSBS.6005"
    assert code_of("BackupNotFound") == "CSBS.3001"
    assert code_of("NoErrorOfOurs") == "CSBS.9999"


def test_every_entry_has_a_code_of_the_protocol_and_one_sentence() -> None:
    for entry in ENTRIES.values():
        assert entry.code.startswith("CSBS.")
        assert 400 <= entry.status < 600
        assert entry.sentence.endswith(".")
    assert karbor_fault(404) == "itemNotFound"
    assert karbor_fault(418) == "karborFault"


def test_the_page_has_every_code_and_a_test_has_it_too() -> None:
    page = (ROOT / "docs/reference/csbs-v1-api.md").read_text()
    sent, never = page.split("## Error codes")[1].split("## Codes that are never sent")
    rows = re.findall(r"^\| (\S+\.\d{4}) \| (\d{3}) \| (.*) \|$", sent, re.MULTILINE)
    tests = "".join(each.read_text() for each in Path(__file__).parent.glob("test_*.py"))

    assert [code for code, _, _ in rows] == sorted({each.code for each in ENTRIES.values()})
    for code, status, when in rows:
        statuses = {each.status for each in ENTRIES.values() if each.code == code}
        told = {int(status), *map(int, re.findall(r"\b([45]\d\d)\b", when))}
        assert statuses == told, code
        assert code in tests
        assert f"| {code} |" not in never


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"7",
        b"nonsense",
        b"\xff\xfe",
        b'{"protect": NaN}',
        b'{"protect": {"backup_name": "\\ud800"}}',
        b'{"protect": {"backup_name": "a\\u0000b"}}',
        b'{"\\u0000": 1}',
        b'{"protect": ' + b"9" * 41 + b"}",
        b"{" * 100_000,
    ],
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(RequestInvalid):
        read_json(data)


def test_a_refusal_names_the_place_and_never_what_was_sent() -> None:
    with pytest.raises(RequestInvalid) as raised:
        read_body(ProtectBody, b'{"protect": {"tags": [{"key": {"secret": 1}}]}}')

    assert raised.value.part == "protect.tags.0.key"
    assert raised.value.why == "it must be a text"


def test_keys_that_nobody_knows_are_ignored() -> None:
    assert read_body(ProtectBody, b'{"protect": {"new": 1}, "more": 2}').protect.tags is None


def test_a_next_page_keeps_the_filter_and_has_each_parameter_once() -> None:
    query = Query(
        [
            *[("resource_type", "A::B"), ("resource_type", "C"), ("name", "1"), ("name", "2")],
            *[("limit", "9"), ("offset", "3"), ("b", ""), ("c", "x y")],
        ]
    )

    assert query.text("name") == "1"
    assert query.with_marker("m", 5) == (
        "resource_type=A%3A%3AB%2CC&name=1&c=x%20y&limit=5&marker=m"
    )

"""docs/reference/csbs-v1-api.md, the table in the code, and the tests name the same codes."""

from __future__ import annotations

import pytest

from csbs.api.csbs_v1.wire.codes import ENTRIES
from tests.meta.markdown import table
from tests.meta.tree import ROOT

PAGE = ROOT / "docs" / "reference" / "csbs-v1-api.md"
SENT = {row[0]: row[1] for row in table(PAGE, under="Error codes")[1:]}
NEVER = [row[0] for row in table(PAGE, under="Codes that are never sent")[1:]]

#: All codes of the protocol.
PROTOCOL = [
    *("CSBS.0001", "CSBS.0002", "CSBS.1001", "CSBS.1002", "CSBS.2001", "CSBS.2003", "CSBS.2004"),
    *("CSBS.3000", "CSBS.3001", "CSBS.4000", "CSBS.5001", "CSBS.6000", "CSBS.6001", "CSBS.6003"),
    *("CSBS.6004", "CSBS.6005", "CSBS.6006", "CSBS.6007", "CSBS.6010", "CSBS.6013", "CSBS.6014"),
    *("CSBS.6015", "CSBS.6016", "CSBS.6017", "CSBS.6018", "CSBS.6019", "CSBS.6020", "CSBS.6021"),
    *("CSBS.6023", "CSBS.6024", "CSBS.6025", "CSBS.6027", "CSBS.6030", "CSBS.6031", "CSBS.6032"),
    *("CSBS.6033", "CSBS.6040", "CSBS.6061", "CSBS.7000", "CSBS.7001", "CSBS.8001", "CSBS.8007"),
    *("CSBS.8008", "CSBS.8009", "CSBS.9001", "CSBS.9006", "CSBS.9007", "CSBS.9008", "CSBS.9009"),
    *("CSBS.9998", "CSBS.9999", "BackupService.4008"),
]


def test_the_page_says_of_each_code_whether_it_is_sent() -> None:
    assert sorted([*SENT, *NEVER]) == sorted(PROTOCOL)


def test_the_page_has_the_codes_and_statuses_that_are_sent() -> None:
    sent: dict[str, set[str]] = {}
    for entry in ENTRIES.values():
        sent.setdefault(entry.code, set()).add(str(entry.status))

    assert sent.keys() == SENT.keys()
    for code, statuses in sent.items():
        assert SENT[code] in statuses


@pytest.mark.parametrize("code", sorted(SENT))
def test_a_code_that_is_sent_has_a_test(code: str) -> None:
    tests = (ROOT / "tests" / "unit" / "api" / "csbs_v1").glob("test_*.py")

    assert any(code in path.read_text(encoding="utf-8") for path in tests)

"""What a tenant reads of a failure: one sentence, whatever the host said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import csbs.service  # noqa: F401  all errors of the service are known
from csbs.api.csbs_v1.wire.causes import SENTENCES, cause
from csbs.domain.consistency import NO_HOOKS, ConsistencyNotReached
from csbs.domain.errors import CsbsError, DataFolderFull, DriverFailed, FolderDenied
from tests.unit.api.csbs_v1.lab import WEB, CsbsLab

HIDDEN = "/srv/secret/place"


def classes(root: type[CsbsError] = CsbsError) -> Iterator[type[CsbsError]]:
    yield root
    for each in root.__subclasses__():
        yield from classes(each)


@pytest.mark.parametrize("error_class", list(classes()), ids=lambda each: each.__name__)
def test_every_error_is_told_without_the_words_of_the_host(error_class: type[CsbsError]) -> None:
    told = cause(error_class.__name__, f"it failed at {HIDDEN}; run `csbs doctor`")

    assert told.endswith(".")
    if error_class is not ConsistencyNotReached:
        assert HIDDEN not in told
        assert "csbs" not in told


def test_what_is_no_error_of_ours_is_an_internal_one() -> None:
    assert cause("KeyError", f"'{HIDDEN}'") == "Internal error."


def test_nothing_is_told_where_nothing_failed() -> None:
    assert cause("", "") == ""


def test_a_consistency_that_is_not_reached_is_told_with_its_reason() -> None:
    error = ConsistencyNotReached("web", "application", NO_HOOKS)

    assert NO_HOOKS in cause(type(error).__name__, str(error))


def test_every_sentence_is_one() -> None:
    for sentence in SENTENCES.values():
        assert sentence is None or sentence.count(".") == 1


@pytest.mark.parametrize(
    "error",
    [
        DataFolderFull(HIDDEN, 1, 2),
        FolderDenied(HIDDEN, "permission denied"),
        DriverFailed("web", "", "opening", HIDDEN),
        CsbsError(),
    ],
)
def test_no_call_tells_a_tenant_where_the_host_failed(lab: CsbsLab, error: CsbsError) -> None:
    item = lab.back_up()
    volumes = [
        {"backup_id": each["id"], "volume_id": each["source_volume_id"]}
        for each in item["extend_info"]["volume_backups"]
    ]
    lab.mia.restore(item, volumes)
    lab.finish(error)
    lab.mia.protect(WEB)
    lab.finish(error)

    for path in ("/checkpoint_items", "/restores", "/operation_logs"):
        answer = lab.mia.get(path)
        assert answer.status_code == 200
        assert HIDDEN not in answer.text
        assert "doctor" not in answer.text
    kept = [each.fail_reason for each in lab.app.backups.list_all()]
    assert kept == [str(error) or "CsbsError"] * 2, "the operator reads all of it"

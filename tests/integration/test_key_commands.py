"""`csbs repository keys`, `rotate-key`, `recovery-key`, and what is said where a key is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from csbs.config import load_settings
from csbs.domain.errors import InvalidSetting
from csbs.repository.objectstore import FolderStore
from tests.integration.libvirt.shell import Shell


@pytest.fixture
def csbs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.setenv("CSBS_ENCRYPTION", "on")
    monkeypatch.setenv("CSBS_RUN_DIR", str(tmp_path / "run"))
    return Shell(tmp_path / "data", capsys)


@pytest.fixture
def made(csbs: Shell) -> Shell:
    """With a repository: its first use makes it."""
    csbs.ok("repository", "collect")
    return csbs


def test_a_new_repository_says_what_to_keep(csbs: Shell, caplog: pytest.LogCaptureFixture) -> None:
    csbs.ok("repository", "collect")
    csbs.ok("repository", "collect")

    (told,) = [each for each in caplog.records if "new repository" in each.getMessage()]
    assert "csbs repository recovery-key" in told.getMessage()
    assert told.__dict__["region_key_file"] == str(csbs.data_dir / "region.key")


def test_keys_are_shown_by_id_and_never_themselves(made: Shell) -> None:
    ring = made.ok("repository", "keys")
    told = made("repository", "keys").out

    assert [key["use"] for key in ring["keys"]] == ["digest", "mac", "seal", "recovery", "data"]
    assert ring["recovery_key"]["shown"] is False
    assert "csbs repository recovery-key" in told
    for key_id in (ring["region_key"]["id"], ring["recovery_key"]["id"], ring["keys"][-1]["id"]):
        assert key_id in told
    secrets = (made.data_dir / "region.key").read_text().split()[-1]
    assert secrets not in told + json.dumps(ring)


def test_keys_are_shown_without_a_key(made: Shell) -> None:
    (made.data_dir / "region.key").unlink()
    ring = made.ok("repository", "keys")
    refused = made("repository", "collect", "--json")

    assert (refused.code, refused.error["kind"]) == (7, "unavailable")
    assert ring["region_key"]["id"] in refused.error["message"]
    assert str(made.data_dir / "region.key") in refused.error["message"]
    assert made("repository", "rotate-key", "--data").code == 7


def test_a_wrong_key_is_denied(made: Shell, tmp_path: Path) -> None:
    other = Shell(tmp_path / "other", made.capture)
    other.ok("repository", "collect")
    (other.data_dir / "region.key").replace(made.data_dir / "region.key")
    refused = made("repository", "collect", "--json")

    assert (refused.code, refused.error["kind"]) == (6, "denied")
    assert "Nothing was changed" in refused.error["message"]


def test_the_recovery_key_is_shown_once_and_opens(
    made: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = made("repository", "recovery-key", "--yes")
    again = made("repository", "recovery-key", "--yes")
    paper = tmp_path / "paper"
    paper.write_text(shown.out)
    (made.data_dir / "region.key").unlink()
    monkeypatch.setenv("CSBS_RECOVERY_KEY_FILE", str(paper))

    assert shown.out.startswith("csbs-recovery-key-1 ")
    assert again.code == 3
    assert "rotate-key --recovery" in again.err
    assert not list(made.data_dir.glob("recovery-*"))
    assert made.ok("repository", "keys")["recovery_key"]["shown"] is True
    made.ok("repository", "collect")
    made.ok("repository", "rotate-key", "--region")
    monkeypatch.delenv("CSBS_RECOVERY_KEY_FILE")
    made.ok("repository", "collect")  # by the new region key alone


def test_nobody_is_shown_the_recovery_key_by_mistake(made: Shell) -> None:
    asked = made("repository", "recovery-key")

    assert asked.code == 5
    assert "csbs-recovery-key" not in asked.out
    assert made("repository", "recovery-key", "--yes").code == 0


@pytest.mark.parametrize("what", ["region", "data", "recovery"])
def test_each_key_is_rotated_alone(made: Shell, what: str) -> None:
    before = made.ok("repository", "keys")
    after = made.ok("repository", "rotate-key", f"--{what}")
    told = made("repository", "rotate-key", f"--{what}").out
    last = made.ok("repository", "keys")

    changed = {
        "region": before["region_key"] != after["region_key"],
        "data": len(before["keys"]) != len(after["keys"]),
        "recovery": before["recovery_key"]["id"] != after["recovery_key"]["id"],
    }
    assert changed == {each: each == what for each in changed}
    ids = {
        "region": last["region_key"]["id"],
        "data": last["keys"][-1]["id"],
        "recovery": last["recovery_key"]["id"],
    }
    assert f"the {what} key is {ids[what]} now" in told
    made.ok("repository", "collect")


@pytest.mark.parametrize("options", [(), ("--region", "--data")], ids=str)
def test_one_key_at_a_time(made: Shell, options: tuple[str, ...]) -> None:
    refused = made("repository", "rotate-key", *options)

    assert refused.code == 2
    assert "one of --region, --data, --recovery" in refused.err


def test_where_there_is_no_repository_none_is_made(csbs: Shell) -> None:
    commands = [("keys",), ("rotate-key", "--data"), ("recovery-key", "--yes")]
    absent = [csbs("repository", *each).code for each in commands]
    folder = Path(csbs("repository", "keys", "--json").error["object"])
    made_after = folder.exists()
    FolderStore(folder).make()
    empty = [csbs("repository", *each).code for each in commands]

    assert absent == [7, 7, 7]  # perhaps its file system is not mounted
    assert not made_after
    assert empty == [3, 3, 3]
    assert not list(FolderStore(folder).list(""))
    assert not (csbs.data_dir / "region.key").exists()


def test_a_plain_repository_has_no_keys_to_show(
    csbs: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSBS_ENCRYPTION", "auto")
    csbs.ok("repository", "collect")
    refused = csbs("repository", "keys")

    assert refused.code == 5
    assert "not encrypted" in refused.err


def test_a_plain_repository_needs_no_key_file(csbs: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSBS_ENCRYPTION", "off")
    csbs.ok("repository", "collect")

    assert not list(csbs.data_dir.glob("*.key"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CSBS_ENCRYPTION", "yes"),
        ("CSBS_REGION_KEY_FILE", "{data}/store/region.key"),
    ],
)
def test_settings_that_make_no_sense_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value.format(data=tmp_path))

    with pytest.raises(InvalidSetting) as caught:
        load_settings(tmp_path)
    assert caught.value.object_name == name.removeprefix("CSBS_").lower()


def test_a_store_that_holds_the_data_folder_needs_the_key_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSBS_STORE_URL", f"file://{tmp_path}")
    load_settings(tmp_path / "data")  # a plain repository needs no key
    monkeypatch.setenv("CSBS_ENCRYPTION", "on")

    with pytest.raises(InvalidSetting, match="lies in the store"):
        load_settings(tmp_path / "data")
    monkeypatch.setenv("CSBS_REGION_KEY_FILE", "/etc/csbs/region.key")
    assert load_settings(tmp_path / "data").region_key_path == Path("/etc/csbs/region.key")


def test_what_is_there_twice_is_read_and_put_back(
    made: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Config and key ring are gone; another host finds the repository all the same."""
    [config] = (made.data_dir / "store").glob("*/config")
    [ring] = config.parent.glob("keys/*/*")
    whole = config.read_bytes(), ring.read_bytes()
    config.unlink()
    ring.write_bytes(b"nonsense")
    monkeypatch.setenv("CSBS_STORE_URL", f"file://{made.data_dir / 'store'}")
    monkeypatch.setenv("CSBS_REGION_KEY_FILE", str(made.data_dir / "region.key"))
    elsewhere = Shell(tmp_path / "elsewhere", made.capture)
    assert elsewhere.ok("repository", "rebuild-catalog")["owned"] is False
    assert made("repository", "show").code == 0

    done = made("repository", "verify", "--json")
    told = made("repository", "verify")

    keys = ["config", str(ring.relative_to(config.parent))]
    assert done.code == 8
    assert [each["key"] for each in done.document["objects"]] == keys
    assert done.document["mended"] == keys
    assert (config.read_bytes(), ring.read_bytes()) == whole
    assert (told.code, "no damage was found" in told.out) == (0, True)

"""A store that is chosen by its address: where backups go, and what is never shown."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from csbs import stores
from csbs.app import check_host, open_app
from csbs.compute.base import never
from csbs.config import Settings, load_settings
from csbs.domain.clock import new_id, utc_now
from csbs.domain.errors import FolderUnusable, InvalidSetting
from csbs.domain.extents import BLOCK_SIZE
from csbs.domain.store_url import parse_store_url
from csbs.repository.errors import StoreDenied, StoreMissing, StoreUnsuitable
from csbs.repository.objectstore import ThrottledStore
from csbs.testing.repositories import noise, restored, write_image
from csbs.testing.s3_proxy import GONE, Answer, S3Proxy, ServerCertificate, refusal
from csbs.testing.seaweedfs import BUCKET, READER, STRANGER, WRITER, SeaweedFS


@pytest.fixture
def prefix() -> str:
    return f"wiring/{uuid4()}"


@pytest.fixture
def settings(tmp_path: Path, seaweedfs: SeaweedFS, prefix: str) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        run_dir=tmp_path / "run",
        store_url=seaweedfs.url(prefix),
        s3_access_key_id=WRITER.access_key_id,
        s3_secret_access_key=WRITER.secret_access_key,
    )


def keys_below(seaweedfs: SeaweedFS, prefix: str) -> set[str]:
    return {info.key for info in seaweedfs.store(prefix).list("")}


def test_a_place_is_emptied_and_its_neighbours_are_not(
    settings: Settings, seaweedfs: SeaweedFS, prefix: str
) -> None:
    with open_app(settings) as app:
        app.stores.init()
    [mine] = stores.repositories_below(settings.store_place, stores.options(settings))
    neighbour = seaweedfs.store(f"{prefix}/{mine}-2")
    neighbour.put("config", [b"x"])

    for _ in range(2):  # it may be repeated
        stores.erase_store(settings.store_place.below(mine), stores.options(settings))

    assert keys_below(seaweedfs, prefix) == {f"{mine}-2/config"}


def test_backups_go_to_the_projects_place_below_the_address(
    settings: Settings, seaweedfs: SeaweedFS, prefix: str
) -> None:
    data = noise(1, 5 * BLOCK_SIZE)
    with open_app(settings) as app:
        with app.repositories.writing("a backup", cancelled=never) as (repository, index):
            writer = repository.begin(new_id(), started_at=utc_now(), index=index)
            image = write_image(
                writer,
                len(data),
                {n: data[n * BLOCK_SIZE : (n + 1) * BLOCK_SIZE] for n in range(5)},
            )
            manifest = writer.commit(created_at=utc_now(), facts={})
        project = next(iter(keys_below(seaweedfs, prefix))).partition("/")[0]
        with app.repositories.shared("a restore") as again:
            assert restored(again, again.manifest(manifest.key).images[0]) == data

    assert image.nonzero_blocks == 5
    assert len(project) == 32
    assert f"{project}/config" in keys_below(seaweedfs, prefix)
    assert not any("probe" in key for key in keys_below(seaweedfs, prefix))
    assert not (settings.data_dir / "store").exists()


def test_what_should_be_there_is_never_made_anew(settings: Settings) -> None:
    place, options = settings.store_place.below("p"), stores.options(settings)
    with pytest.raises(StoreMissing, match="there should be one; is store_url right"):
        stores.require_made(place, options, cancelled=never)

    stores.make_store(place, options, cancelled=never).put("config", [b"x"])
    stores.require_made(place, options, cancelled=never)


@pytest.mark.parametrize("name", ["s3_access_key_id", "s3_secret_access_key"])
def test_a_missing_key_is_named(settings: Settings, name: str) -> None:
    without = settings.model_copy(update={name: ""})

    with pytest.raises(InvalidSetting, match=name), open_app(without) as app:
        app.repositories.collect(lambda _: None)


def test_an_address_that_makes_no_sense_is_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSBS_STORE_URL", "s3://key:hidden@bucket")

    with pytest.raises(InvalidSetting, match="store_url") as raised:
        load_settings(tmp_path)
    assert "hidden" not in str(raised.value)


def test_the_secret_is_neither_logged_nor_shown(
    settings: Settings, seaweedfs: SeaweedFS, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = settings.model_copy(
        update={"s3_secret_access_key": STRANGER.secret_access_key, "store_timeout_s": 5.0}
    )
    options = stores.options(wrong)
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreDenied) as raised:
        stores.make_store(wrong.store_place, options, cancelled=never)

    texts = [caplog.text, str(raised.value), repr(raised.value), repr(wrong), repr(options)]
    texts += [repr(STRANGER.access())]
    assert [text for text in texts if STRANGER.secret_access_key in text] == []


def test_variables_of_other_programs_send_nothing_elsewhere(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_SESSION_TOKEN": "other",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_BUCKET": "other",
    }.items():
        monkeypatch.setenv(name, value)

    store = stores.make_store(settings.store_place, stores.options(settings), cancelled=never)
    store.put("a/b", [b"x"])

    assert store.get("a/b") == b"x"


def test_a_rate_limit_holds_for_the_store(settings: Settings) -> None:
    limited = settings.model_copy(update={"store_rate_limit": "50MB/s"})
    store = stores.open_store(limited.store_place, stores.options(limited), cancelled=never)

    assert isinstance(store, ThrottledStore)


def test_a_server_that_overwrites_in_spite_of_the_condition_is_refused(
    settings: Settings, seaweedfs: SeaweedFS, prefix: str
) -> None:
    with S3Proxy(seaweedfs.endpoint) as proxy:
        proxy.on("PUT", "/probe/", Answer(200))
        place = parse_store_url(f"s3://{BUCKET}/{prefix}?endpoint={proxy.endpoint}")
        with pytest.raises(StoreUnsuitable, match="If-None-Match"):
            stores.make_store(place, stores.options(settings), cancelled=never)
        proxy.over()


def test_failures_in_passing_are_not_noticed(settings: Settings, seaweedfs: SeaweedFS) -> None:
    with S3Proxy(seaweedfs.endpoint) as proxy:
        place = parse_store_url(f"s3://{BUCKET}/{uuid4()}?endpoint={proxy.endpoint}")
        store = stores.open_store(place, stores.options(settings), cancelled=never)
        proxy.on("PUT", "/a/b", refusal(503, "SlowDown"), times=1)
        proxy.on("PUT", "/a/b", GONE, times=1)
        proxy.on("GET", "list-type=2", refusal(500, "InternalError"), times=1)
        store.put("a/b", [b"x"])

        assert [info.key for info in store.list("")] == ["a/b"]
        proxy.over()


def test_who_may_only_read_opens_what_is_there(settings: Settings) -> None:
    place = settings.store_place.below("p")
    stores.make_store(place, stores.options(settings), cancelled=never).put("config", [b"x"])
    reading = settings.model_copy(
        update={
            "s3_access_key_id": READER.access_key_id,
            "s3_secret_access_key": READER.secret_access_key,
        }
    )

    store = stores.make_store(place, stores.options(reading), cancelled=never)

    assert store.get("config") == b"x"


def test_a_certificate_of_ones_own_is_trusted_where_it_is_named(
    settings: Settings, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    certificate = ServerCertificate.make(tmp_path)
    with S3Proxy(seaweedfs.endpoint, tls=certificate) as proxy:
        place = parse_store_url(f"s3://{BUCKET}/{uuid4()}?endpoint={proxy.endpoint}")
        trusting = settings.model_copy(update={"s3_ca_file": str(certificate.ca_file)})
        store = stores.make_store(place, stores.options(trusting), cancelled=never)
        store.put("a/b", [b"x"])
        assert store.get("a/b") == b"x"

        with pytest.raises(StoreUnsuitable, match=r"UnknownIssuer\); set s3_ca_file"):
            stores.make_store(place, stores.options(settings), cancelled=never)


def test_a_file_of_certificates_that_is_not_there_is_named(settings: Settings) -> None:
    wrong = settings.model_copy(update={"s3_ca_file": "/nowhere/ca.pem"})

    with pytest.raises(FolderUnusable, match="/nowhere"):
        stores.open_store(wrong.store_place, stores.options(wrong), cancelled=never)


def test_the_doctor_asks_the_store(settings: Settings) -> None:
    right = next(check for check in check_host(settings) if check.name == "store")
    wrong_keys = settings.model_copy(update={"s3_secret_access_key": "guessed"})
    wrong = next(check for check in check_host(wrong_keys) if check.name == "store")

    assert (right.ok, right.found) == (True, settings.store_place.name)
    assert not wrong.ok
    assert "SignatureDoesNotMatch" in wrong.found


@pytest.mark.parametrize("module", ["csbs.app", "csbs.cli.main", "csbs.config"])
def test_who_uses_a_folder_never_loads_what_s3_needs(module: str) -> None:
    program = f"import sys, {module}; print([n for n in ('obstore', 'boto3') if n in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert result.stdout == "[]\n"

"""Requests that are signed by an access key: both forms, as each SDK signs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from csbs.domain.tenancy import Role
from csbs.testing.live_api import LiveApi, live_api
from csbs.testing.signing import Signer, sdk_signers

SDKS = ["huaweicloud-sdk-python", "golangsdk", "chnsz", "huaweicloudsdkcore"]
NUMBERS = iter(range(1, 1000))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApi]:
    with live_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def signers(api: LiveApi) -> Iterator[dict[str, Signer]]:
    admin = api.region.users.find("admin")
    key, secret = api.region.access_keys.create(admin)
    yield sdk_signers(key.id, secret)
    api.region.access_keys.delete(key.id)


def now() -> datetime:
    return datetime.now(UTC)


def ask(
    api: LiveApi,
    signer: Signer,
    path: str = "/v3/projects",
    *,
    at: datetime | None = None,
    query: tuple[tuple[str, str], ...] = (),
) -> httpx.Response:
    headers = signer.sign("GET", api.url + path, at=at or now(), query=query)
    return api.client.get(path, params=list(query), headers=headers)


@pytest.mark.parametrize("sdk", SDKS)
def test_a_signed_request_is_let_in(api: LiveApi, signers: dict[str, Signer], sdk: str) -> None:
    answer = ask(api, signers[sdk], query=(("name", "local"),))

    assert answer.status_code == 200
    assert [each["name"] for each in answer.json()["projects"]] == ["local"]


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize(
    "query",
    [
        (("name", "local"),),
        (("name", "a b"), ("limit", "1")),
        (("type", "OS::Nova::Server"), ("name", "Ä~"), ("empty", "")),
        (("name", "b"), ("name", "a")),
    ],
)
def test_queries_are_signed_decoded_and_sorted(
    api: LiveApi, signers: dict[str, Signer], sdk: str, query: tuple[tuple[str, str], ...]
) -> None:
    assert ask(api, signers[sdk], query=query).status_code == 200


def test_colons_of_a_query_may_come_as_they_are(api: LiveApi, signers: dict[str, Signer]) -> None:
    path, query = "/v3/projects", (("resource_type", "OS::Nova::Server"),)
    headers = signers["chnsz"].sign("GET", api.url + path, at=now(), query=query)

    answer = api.client.get(f"{path}?resource_type=OS::Nova::Server", headers=headers)

    assert answer.status_code == 200


def test_of_a_repeated_parameter_the_first_value_may_be_signed(
    api: LiveApi, signers: dict[str, Signer]
) -> None:
    path = "/v3/projects"
    headers = signers["golangsdk"].sign("GET", api.url + path, at=now(), query=[("name", "b")])

    answer = api.client.get(f"{path}?name=b&name=a", headers=headers)

    assert answer.status_code == 200


@pytest.mark.parametrize("sdk", SDKS)
def test_a_body_is_signed(api: LiveApi, signers: dict[str, Signer], sdk: str) -> None:
    path, body = "/native/v1/projects", b'{"name": "local_signed-%d"}' % next(NUMBERS)
    headers = signers[sdk].sign("POST", api.url + path, at=now(), body=body)
    headers["content-type"] = "application/json"

    forged = api.client.post(path, content=body.replace(b"signed", b"forged"), headers=headers)
    genuine = api.client.post(path, content=body, headers=headers)

    assert forged.status_code == 401
    assert genuine.status_code == 201


@pytest.mark.parametrize("sdk", SDKS)
@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_date_far_from_ours_is_401(
    api: LiveApi, signers: dict[str, Signer], sdk: str, minutes: int
) -> None:
    answer = ask(api, signers[sdk], at=now() + timedelta(minutes=minutes))

    assert answer.status_code == 401
    assert "minutes" in answer.json()["error"]["message"]


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_may_be_wrong_by_minutes(
    api: LiveApi, signers: dict[str, Signer], minutes: int
) -> None:
    assert ask(api, signers["chnsz"], at=now() + timedelta(minutes=minutes)).status_code == 200


@pytest.mark.parametrize("sdk", SDKS)
def test_a_wrong_secret_is_401(api: LiveApi, signers: dict[str, Signer], sdk: str) -> None:
    answer = ask(api, replace(signers[sdk], secret="x" * 40))

    assert answer.status_code == 401


def test_an_unknown_key_is_401(api: LiveApi, signers: dict[str, Signer]) -> None:
    answer = ask(api, replace(signers["chnsz"], access_key="A" * 20))

    assert answer.status_code == 401


def test_a_signature_for_another_path_is_401(api: LiveApi, signers: dict[str, Signer]) -> None:
    headers = signers["chnsz"].sign("GET", f"{api.url}/v3/projects", at=now())

    assert api.client.get("/v3/users", headers=headers).status_code == 401


def test_a_signed_header_that_was_changed_is_401(api: LiveApi, signers: dict[str, Signer]) -> None:
    headers = signers["chnsz"].sign("GET", f"{api.url}/v3/projects", at=now())

    answer = api.client.get("/v3/projects", headers=headers | {"user-agent": "another"})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "authorization",
    [
        "SDK-HMAC-SHA256",
        "SDK-HMAC-SHA256 Access=A",
        "SDK-HMAC-SHA256 Access=A, SignedHeaders=host, Signature=zz",
        f"SDK-HMAC-SHA256 SignedHeaders=host, Signature={'0' * 64}",
        f"SDK-HMAC-SHA256 Credential=A/20310506/x, SignedHeaders=host, Signature={'0' * 64}",
        f"SDK-HMAC-SHA256 Access=A, SignedHeaders=, Signature={'0' * 64}",
    ],
)
def test_a_header_that_cannot_be_read_is_401(api: LiveApi, authorization: str) -> None:
    answer = api.client.get("/v3/projects", headers={"authorization": authorization})

    assert answer.status_code == 401


def test_a_change_that_is_repeated_is_401(api: LiveApi, signers: dict[str, Signer]) -> None:
    path, body = "/native/v1/projects", b'{"name": "local_twice"}'
    headers = signers["golangsdk"].sign("POST", api.url + path, at=now(), body=body)

    first, second = (api.client.post(path, content=body, headers=headers) for _ in range(2))

    assert first.status_code == 201
    assert second.status_code == 401
    assert "used before" in second.json()["error"]["message"]


def test_a_list_may_be_asked_for_twice_in_a_moment(
    api: LiveApi, signers: dict[str, Signer]
) -> None:
    at = now()

    assert [ask(api, signers["golangsdk"], at=at).status_code for _ in range(2)] == [200, 200]


def test_a_project_that_a_header_names_fills_the_catalog(
    api: LiveApi, signers: dict[str, Signer]
) -> None:
    signer = signers["golangsdk"]
    headers = signer.sign("GET", f"{api.url}/v3/auth/catalog", at=now())

    answer = api.client.get("/v3/auth/catalog", headers=headers | {"x-project-id": api.project_id})

    urls = {each["type"]: each["endpoints"][0]["url"] for each in answer.json()["catalog"]}
    assert urls["data-protect"] == f"{api.url}/v1/{api.project_id}"
    assert isinstance(answer.json()["links"], dict)


def test_without_that_header_the_one_project_of_the_signer_fills_it(api: LiveApi) -> None:
    region = api.region
    region.users.create("una", "una-password")
    key, secret = region.access_keys.create(region.users.find("una"))
    signer = sdk_signers(key.id, secret)["golangsdk"]

    def published(second: int) -> set[str]:
        at = now() + timedelta(seconds=second)
        headers = signer.sign("GET", f"{api.url}/v3/auth/catalog", at=at)
        answer = api.client.get("/v3/auth/catalog", headers=headers | {"x-domain-id": "any"})
        return {each["type"] for each in answer.json()["catalog"]}

    none = published(1)
    region.users.set_role("una", "local", Role.MEMBER)
    one = published(2)
    region.projects.create("local_second")
    region.users.set_role("una", "local_second", Role.MEMBER)
    two = published(3)

    assert none == two == {"identity"}
    assert "data-protect" in one


def test_the_lists_for_the_python_sdk_have_places_and_underscores(
    api: LiveApi, signers: dict[str, Signer]
) -> None:
    signer = signers["huaweicloud-sdk-python"]

    services = ask(api, signer, "/v3/services").json()["services"]
    endpoints = ask(api, signer, "/v3/endpoints").json()["endpoints"]

    csbs = next(each for each in services if each["type"] == "data_protect")
    urls = {each["service_id"]: each["url"] for each in endpoints}
    assert urls[csbs["id"]] == f"{api.url}/v1/$(tenant_id)s"
    assert {each["region"] for each in endpoints} == {"local"}


def test_a_disabled_user_signs_in_vain(api: LiveApi) -> None:
    api.region.users.create("signe", "signe-password")
    key, secret = api.region.access_keys.create(api.region.users.find("signe"))
    signer = sdk_signers(key.id, secret)["chnsz"]
    before = ask(api, signer).status_code

    api.region.users.set_rights("signe", enabled=False)

    assert [before, ask(api, signer, at=now() + timedelta(seconds=1)).status_code] == [200, 401]

"""`csbs login`, `logout`, `profile`: what is kept, where commands work, what is refused."""

from __future__ import annotations

import http.server
import json
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from csbs.domain.tenancy import Role
from csbs.testing.live_api import ADMIN_PASSWORD, live_api
from tests.unit.cli.test_here_and_there import ON_THE_HOST
from tests.unit.cli.two_ways import Ways, log_in, two_ways

PASSWORD = "a-good-password"  # noqa: S105  of users that live as long as a test


@pytest.fixture
def ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ways]:
    with two_ways(tmp_path, capsys, monkeypatch) as both:
        yield both


def kept(ways: Ways) -> tuple[Path, dict[str, Any]]:
    file = ways.here.folder.parent / "config" / "csbs" / "logins.json"
    return file, json.loads(file.read_text())["logins"]


def test_a_login_is_kept_for_its_owner_alone_and_without_the_password(ways: Ways) -> None:
    log_in(ways)

    file, logins = kept(ways)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert ADMIN_PASSWORD not in file.read_text()
    assert logins["default"]["project"] == "local"
    listed = ways.there.json("profile", "list")
    assert listed["current"] == "default"
    assert logins["default"]["token"] not in json.dumps(listed)
    assert ways.there("server", "list").out.startswith("NAME")


def test_a_logout_ends_the_token_and_commands_work_here_again(ways: Ways) -> None:
    log_in(ways)
    token = kept(ways)[1]["default"]["token"]

    out = ways.there("logout").out

    assert out == f"logged out of {ways.api.url}\n"
    assert kept(ways)[1] == {}
    answer = ways.api.client.get("/v3/projects", headers={"X-Auth-Token": token})
    assert answer.status_code == 401
    assert ways.there.json("profile", "list")["current"] == "local"
    assert ways.there("logout").code == 3


def test_a_wrong_password_is_denied_and_nothing_is_kept(ways: Ways) -> None:
    ran = ways.there("login", ways.api.url, typed="wrong\n")

    assert (ran.code, ran.err.count("\n")) == (6, 1)
    assert "password" in ran.err
    assert ways.there.json("profile", "list")["profiles"] == []


def test_the_password_may_come_from_the_environment(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSBS_PASSWORD", ADMIN_PASSWORD)

    ways.there("--profile", "other", "login", ways.api.url, "--project", "local")

    assert kept(ways)[1]["other"]["user"] == "admin"


def test_an_access_key_signs_every_call(ways: Ways) -> None:
    admin = ways.api.region.users.find("admin")
    key, secret = ways.api.region.access_keys.create(admin, "for a script")

    ran = ways.there("login", ways.api.url, "--access-key", key.id, typed=f"{secret}\n")

    assert ran.code == 0, ran.err
    file, logins = kept(ways)
    assert (logins["default"]["secret_key"], logins["default"]["token"]) == (secret, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret not in ways.there.raw("profile", "show", "--json")[1]
    for _ in range(3):  # within a second, so only the nonce tells them apart
        assert ways.there("server", "list").code == 0
    assert ways.there("backup", "create", "db").code == 0


def test_a_key_that_is_none_any_more_says_so(ways: Ways) -> None:
    admin = ways.api.region.users.find("admin")
    key, secret = ways.api.region.access_keys.create(admin, "")
    ways.there("login", ways.api.url, "--access-key", key.id, typed=f"{secret}\n")
    ways.api.region.access_keys.delete(key.id)

    ran = ways.there("server", "list")

    assert ran.code == 6
    assert ran.err.endswith("the access key is unknown\n")


def test_a_token_that_has_ended_is_renewed_where_there_is_a_password(
    ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(ways)
    first = kept(ways)[1]["default"]["token"]
    ways.api.region.identity.revoke(first)

    without = ways.there("server", "list")
    monkeypatch.setenv("CSBS_PASSWORD", ADMIN_PASSWORD)
    with_one = ways.there("server", "list")

    assert without.code == 6
    url = ways.api.url
    assert without.err == f"csbs: the login to {url} has ended: `csbs login {url}` begins another\n"
    assert with_one.code == 0
    assert kept(ways)[1]["default"]["token"] not in {first, ""}


def test_where_commands_work_is_chosen(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(ways)
    ways.there("login", ways.api.url, "--profile", "second", typed=f"{ADMIN_PASSWORD}\n")
    here_id = ways.here.servers["web"].id
    there_id = ways.there.servers["web"].id

    def where(*options: str) -> str:
        servers = ways.there.json(*options, "server", "list")["servers"]
        return str({each["name"]: each["id"] for each in servers}["web"])

    ways.there.driver, hidden = ways.here.driver, ways.there.driver
    try:
        assert where() == there_id
        assert where("--data-dir", str(ways.here.folder / "data")) == here_id
        monkeypatch.setenv("CSBS_DATA_DIR", str(ways.here.folder / "data"))
        assert where() == here_id
        assert where("--local") == here_id
        assert where("--profile", "local") == here_id
        assert ways.there("profile", "use", "local").out == "commands work on this machine\n"
        assert ways.there.json("profile", "list")["current"] == "local"
        assert where("--profile", "default") == there_id
        monkeypatch.setenv("CSBS_PROFILE", "second")
        assert where() == there_id
    finally:
        ways.there.driver = hidden
    assert ways.there("--profile", "third", "server", "list").code == 3
    assert ways.there("profile", "use", "third").code == 3
    assert ways.there("login", ways.api.url, "--profile", "local").code == 2


def test_a_file_of_logins_that_csbs_did_not_write_is_named(ways: Ways) -> None:
    log_in(ways)
    file, _logins = kept(ways)
    file.write_text('{"logins": []}')

    ran = ways.there("server", "list")

    assert ran.code == 2
    assert "logins.json cannot be used" in ran.err


def test_what_needs_the_host_refuses_a_service(ways: Ways) -> None:
    log_in(ways)
    wanted = {
        "backup export": ["b1", "--output", "/nowhere"],
        "repository copy": ["file:///nowhere"],
        "repository rotate-key": ["--data"],
    }

    for command in ON_THE_HOST:
        ran = ways.there(*_chosen(command), *command.split(), *wanted.get(command, []))

        assert ran.code == 5
        assert ran.err == (
            f"csbs: `csbs {command}` works on the host itself, not on the service at "
            f"{ways.api.url}: run it there with --local\n"
        )


def _chosen(command: str) -> list[str]:
    """A login in use keeps nobody from running the service, or from looking at the host."""
    return ["--profile", "default"] if command in {"serve", "doctor"} else []


def test_a_command_that_would_run_on_the_host_is_refused(ways: Ways) -> None:
    log_in(ways)

    assert ways.there("backup", "create", "db", "--while-open", "true").code == 5


def test_a_member_sees_no_paths_of_the_host_and_runs_nothing_of_it(ways: Ways) -> None:
    region = ways.api.region
    region.users.create("mia", PASSWORD)
    region.users.set_role("mia", "local", Role.MEMBER)

    ways.there("login", ways.api.url, "--user", "mia", typed=f"{PASSWORD}\n")

    shown = ways.there.json("server", "show", "web")
    assert {disk["source"] for disk in shown["disks"]} == {None}
    backup = ways.there.json("backup", "create", "db", "--name", "d1")
    assert {disk["source"] for disk in backup["disks"]} == {None}
    assert ways.there("repository", "show").code == 6
    assert ways.there("user", "list").code == 6
    assert ways.there("quota", "set", "--backups", "3").code == 6


def test_a_user_without_a_project_names_one(ways: Ways) -> None:
    ways.api.region.users.create("nora", PASSWORD)

    made = ways.there("login", ways.api.url, "--user", "nora", typed=f"{PASSWORD}\n")
    none = ways.there("server", "list")
    other = ways.there("--project", "local", "server", "list")

    assert made.out.endswith("as nora, no project\n")
    assert (none.code, other.code) == (2, 3)
    assert "name one by `csbs --project`" in none.err


def test_nobody_there_and_somebody_else_there_are_told_apart(ways: Ways) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nobody = ways.there("login", f"http://127.0.0.1:{port}", typed="x\n")
    with _somebody_else() as url:
        somebody = ways.there("login", url, typed="x\n")

    assert nobody.code == somebody.code == 7
    assert nobody.err == (
        f"csbs: the service at http://127.0.0.1:{port} cannot be reached: connection refused\n"
    )
    assert somebody.err.startswith(f"csbs: what answers at {url} is no csbs service: ")


@contextmanager
def _somebody_else() -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_arguments: object) -> None:
            """Nothing is written."""

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_certificate_must_be_trusted(ways: Ways, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=csbs", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    files = {"tls_certificate_file": certificate, "tls_key_file": key}
    with live_api(tmp_path / "tls", **files) as api:
        url = api.url.replace("http:", "https:")
        typed = f"{ADMIN_PASSWORD}\n"
        unknown = ways.there("login", url, typed=typed)
        missing = ways.there("login", url, "--ca-file", str(tmp_path / "none.pem"), typed=typed)
        trusted = ways.there("login", url, "--ca-file", str(certificate), typed=typed)
        listed = ways.there("backup", "list")
        other_name = url.replace("127.0.0.1", "localhost")
        elsewhere = ways.there("login", other_name, "--ca-file", str(certificate), typed=typed)
        plain = ways.there("login", api.url, typed=typed)

    assert (unknown.code, missing.code, elsewhere.code, plain.code) == (7, 7, 7, 7)
    assert unknown.err.startswith(f"csbs: the certificate of {url} is not trusted: ")
    assert "--ca-file" in unknown.err
    assert "localhost" in elsewhere.err
    assert plain.err.startswith(f"csbs: the service at {api.url} cannot be reached: ")
    assert (trusted.code, listed.code) == (0, 0), trusted.err

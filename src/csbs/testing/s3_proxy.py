"""Between a store and a real S3 server: answers what a script says, passes all else on.

    with S3Proxy(server.endpoint) as proxy:
        proxy.on("PUT", "packs/", refusal(507, "XMinioStorageFull"))
        proxy.when("PUT", "manifests/", Sent.HALF, server.kill)
        ...

Signatures stay right, since a request is passed on as it came, its Host too.
"""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

_TIMEOUT_S = 30.0
_CURVE = "ec_paramgen_curve:prime256v1"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", _CURVE, "-nodes", "-keyout")
_SUBJECT = ("-subj", "/CN=csbs test")
_HOP_HEADERS = {"transfer-encoding", "connection", "keep-alive"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server is made to say; a status of 0 closes the connection without an answer."""

    status: int
    body: str = ""


def refusal(status: int, code: str) -> Answer:
    """An error in the form that S3 has."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>As scripted.</Message></Error>")


#: The connection is lost.
GONE = Answer(0)


class Sent(StrEnum):
    """How much of a request the server has when something happens; the answer is always lost."""

    NOTHING = "before"
    HALF = "half written"
    ALL = "after"


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that happens."""

    sent: Sent
    act: Callable[[], object]


@dataclass(slots=True)
class _Line:
    """One line of the script."""

    method: str
    path_part: str
    status: int
    body: bytes
    times_left: float
    skip: int = 0
    event: _Event | None = None
    met: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """Files of a certificate for 127.0.0.1, its key, and the authority that signed it."""

    certificate: Path
    key: Path
    ca_file: Path

    @staticmethod
    def make(folder: Path) -> ServerCertificate:
        """A new one, with an authority of its own that no system trusts."""
        names = folder / "names"
        names.write_text("subjectAltName=IP:127.0.0.1\n", encoding="ascii")
        _openssl(folder, "req", "-x509", *_NEW_KEY, "ca.key", "-out", "ca.pem", *_SUBJECT)
        _openssl(folder, "req", *_NEW_KEY, "server.key", "-out", "server.csr", *_SUBJECT)
        signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        _openssl(folder, "x509", "-req", "-in", "server.csr", *signed_by, "-out", "server.pem")
        return ServerCertificate(
            certificate=folder / "server.pem",
            key=folder / "server.key",
            ca_file=folder / "ca.pem",
        )


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=_TIMEOUT_S
    )


class S3Proxy:
    """A proxy at 127.0.0.1, as long as its context is open."""

    def __init__(self, server_endpoint: str, *, tls: ServerCertificate | None = None) -> None:
        """Speaks TLS with this certificate, else plain HTTP."""
        self._lines: list[_Line] = []
        self._lock = threading.Lock()
        self.requests: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, server_endpoint))
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3-proxy")

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def on(self, method: str, path_part: str, answer: Answer, *, times: float = inf) -> None:
        """The next `times` such requests are answered so."""
        self._lines.append(_Line(method, path_part, answer.status, answer.body.encode(), times))

    def when(
        self,
        method: str,
        path_part: str,
        sent: Sent,
        act: Callable[[], object],
        *,
        skip: int = 0,
    ) -> None:
        """At the next such request but `skip` of them `act` is called, once."""
        event = _Event(sent, act)
        self._lines.append(_Line(method, path_part, 0, b"", times_left=1, skip=skip, event=event))

    def over(self) -> None:
        """From now on all is passed on; asserts that each line of the script was met."""
        with self._lock:
            left = [line for line in self._lines if not line.met]
            self._lines.clear()
        assert left == [], f"never met: {left}"

    def line_for(self, method: str, path: str) -> _Line | None:
        """What the script says to this request."""
        with self._lock:
            self.requests.append((method, path))
            for line in self._lines:
                if line.times_left and line.method == method and line.path_part in path:
                    if line.skip:
                        line.skip -= 1
                        continue
                    line.times_left -= 1
                    line.met = True
                    return line
        return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_TIMEOUT_S)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    #: An answer is two writes: the second would wait 40 ms for the client to confirm the first.
    disable_nagle_algorithm = True
    timeout = _TIMEOUT_S
    #: Set by `_handler`.
    proxy: S3Proxy
    target: SplitResult

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name
        """Nothing is printed."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = self.proxy.line_for(self.command, self.path)
        if line is None:
            self._pass_on(body)
        elif line.event is not None:
            self._happen(line.event, body)
        elif line.status == 0:
            self.close_connection = True
        else:
            self._send(line.status, [("ETag", '"scripted"')], line.body)

    def _pass_on(self, body: bytes) -> None:
        with closing(self._asked(body)) as server:
            answer = server.getresponse()
            self._send(answer.status, answer.getheaders(), answer.read())

    def _happen(self, event: _Event, body: bytes) -> None:
        self.close_connection = True
        if event.sent is Sent.NOTHING:
            event.act()
            return
        half = event.sent is Sent.HALF
        with closing(self._asked(body[: len(body) // 2] if half else body)) as server:
            if not half:
                server.getresponse().read()
            event.act()

    def _asked(self, body: bytes) -> HTTPConnection:
        """A connection on which the request was made, with this much of its body."""
        server = HTTPConnection(str(self.target.hostname), self.target.port, timeout=_TIMEOUT_S)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            server.putheader(name, value)
        server.endheaders(body)
        return server

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        passed = [each for each in headers if each[0].lower() not in _HOP_HEADERS]
        if "content-length" not in {name.lower() for name, _ in passed}:
            passed.append(("Content-Length", str(len(body))))
        for name, value in passed:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _answer  # noqa: N815  its names


def _handler(proxy: S3Proxy, endpoint: str) -> type[_Handler]:
    return type("Handler", (_Handler,), {"proxy": proxy, "target": urlsplit(endpoint)})

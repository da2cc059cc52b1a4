"""A receiver of webhooks on this machine that behaves as a test tells it.

with receiver_running() as receiver:
    receiver.answers = [Answer(500), Answer(200)]     # the last one for all that follow
    ...
    assert receiver.bodies() == [...]
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_WAIT_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request is answered."""

    status: int = 200
    #: Headers beside the usual ones.
    headers: tuple[tuple[str, str], ...] = ()
    #: Says nothing until the receiver is stopped.
    hangs: bool = False
    #: Sends this, some bytes a second, and never ends the line.
    drips: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """See the module."""

    port: int = 0
    answers: list[Answer] = field(default_factory=lambda: [Answer()])
    received: list[Received] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """Where it listens, in the clear."""
        return f"http://127.0.0.1:{self.port}/hook"

    def bodies(self) -> list[dict[str, Any]]:
        """What came, in order."""
        return [json.loads(each.body) for each in self.received]

    def wait_for(self, count: int) -> None:
        """Returns when so many requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, _WAIT_MAX_S), (
                f"only {len(self.received)} of {count} requests came"
            )

    def take(self, request: Received) -> Answer:
        """The answer to this request."""
        with self._changed:
            self.received.append(request)
            answer = self.answers[0]
            if len(self.answers) > 1:
                self.answers.pop(0)
            self._changed.notify_all()
        return answer


@contextmanager
def receiver_running(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver until the body ends."""
    receiver = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(receiver))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="receiver")
    thread.start()
    try:
        yield receiver
    finally:
        receiver.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        owner = receiver

    return Handler


class _Handler(BaseHTTPRequestHandler):
    owner: Receiver

    def do_POST(self) -> None:
        """Answers as it was told."""
        size = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(size)
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.owner.take(Received(self.command, self.path, headers, body))
        if answer.hangs:
            self.owner.stopping.wait(_WAIT_MAX_S)
            return
        if answer.drips:
            self._drip()
            return
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    #: A redirect that is followed comes as one.
    do_GET = do_POST  # noqa: N815  likewise

    def _drip(self) -> None:
        try:
            while not self.owner.stopping.wait(0.02):
                self.wfile.write(b"H")
                self.wfile.flush()
        except OSError:  # the sender had enough
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name there
        """Says nothing."""

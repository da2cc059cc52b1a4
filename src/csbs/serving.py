"""Runs the service in this process: sockets, TLS, signals, the log."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from types import FrameType
from typing import Protocol

import structlog
import uvicorn

from csbs.api.application import ApiOptions, make_application
from csbs.api.limits import LimitOptions
from csbs.config import Settings
from csbs.domain.errors import CsbsError, Invalid, Unavailable
from csbs.domain.lock_errors import LockLost
from csbs.service import Service, open_service

log = logging.getLogger(__name__)

#: Connections that are open at once; the API itself bounds requests in work.
_CONNECTIONS_MAX = 1000
#: How long a clean stop waits for requests in work.
_STOP_WAIT_S = 10
_BACKLOG = 256
#: A client that keeps a connection open and sends nothing.
_IDLE_S = 60
#: How often the service looks whether it has the catalog for itself.
_ALONE_INTERVAL_S = 5.0
#: Exit code after a second signal.
_ENDED_TWICE = 130


@dataclass(eq=False)
class CannotListen(Unavailable):
    """The address is taken, or is not one of this host."""

    address: str
    why: str

    template = "cannot listen on {0.address}: {0.why}"


@dataclass(eq=False)
class PlainBeyondLoopback(Invalid):
    """Passwords and tokens would cross the network for all to read."""

    address: str

    template = (
        "{0.address} is reached from other hosts: set tls_certificate_file and tls_key_file, or "
        "listen on 127.0.0.1"
    )


@dataclass(eq=False)
class TlsUnusable(Invalid):
    """Certificate and key cannot be read, or do not belong together."""

    certificate: str
    why: str

    template = "the certificate {0.certificate} and its key cannot be used: {0.why}"


def run_service(
    settings: Settings,
    say: Callable[[str], None],
    opening: Opening = open_service,
) -> None:
    """Serves until SIGTERM or SIGINT, then ends what is in work and lets the data folder go.

    A second signal ends the process as a kill would; so does the end of the time for tasks that go
    on.  `say` gets the words for a person: where it listens, and the first password if one was
    made.  Raises `LockLost` if another service may have the catalog by now.
    """
    _write_log_lines()
    _check_tls(settings)
    with (
        _listening(settings) as listener,
        opening(settings, when_late=partial(_end_now, 0)) as service,
    ):
        _tell_first_password(service, say)
        ready = partial(_tell_where, settings, listener, say)
        server = make_server(service, settings, ready)
        for each in (signal.SIGTERM, signal.SIGINT):  # as long as uvicorn has none of its own
            signal.signal(each, lambda *_: _end_now(_ENDED_TWICE))
        with _stopped_when_not_alone(service, server):
            server.run([listener])


def make_server(service: Service, settings: Settings, ready: Callable[[], None]) -> uvicorn.Server:
    """The HTTP server of the service; calls `ready` when it accepts connections."""
    config = uvicorn.Config(
        make_application(service.region, _options(settings)),
        log_config=None,
        access_log=False,
        server_header=False,
        # Who forges X-Forwarded-For would choose the address in the audit trail.
        proxy_headers=False,
        lifespan="off",
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_STOP_WAIT_S,
        limit_concurrency=_CONNECTIONS_MAX,
        ssl_certfile=settings.tls_certificate_file,
        ssl_keyfile=settings.tls_key_file,
    )
    return _Server(config, ready)


@contextmanager
def _stopped_when_not_alone(service: Service, server: uvicorn.Server) -> Iterator[None]:
    """Two services at one catalog would take one another's tasks for those of a dead one."""
    ended, lost = threading.Event(), list[LockLost]()

    def watch() -> None:
        while not ended.wait(_ALONE_INTERVAL_S):
            try:
                service.still_alone()
            except LockLost as error:
                lost.append(error)
                server.should_exit = True
                return
            except CsbsError as error:  # then nobody else can have it either
                log.warning("the catalog does not answer", extra={"why": str(error)})

    threading.Thread(target=watch, name="alone", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
    if lost:
        raise lost[0]


def _end_now(code: int) -> None:
    """Without a wait for threads that go on: the next start finds what they did."""
    os.write(sys.stderr.fileno(), b'{"level": "warning", "message": "ended at once"}\n')
    os._exit(code)


class Opening(Protocol):
    """Opens the service; see `csbs.service.open_service`."""

    def __call__(
        self, settings: Settings, *, when_late: Callable[[], None]
    ) -> AbstractContextManager[Service]:
        """See above."""


class _Server(uvicorn.Server):
    """Says when it is ready, and is not ready any more when it was asked to stop."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept connections."""
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stops at the first signal, and ends at the second."""
        del sig, frame
        if self.should_exit:
            _end_now(_ENDED_TWICE)
        self.config.app.state.is_stopping = True  # type: ignore[union-attr]  # it is a FastAPI
        self.should_exit = True


def _options(settings: Settings) -> ApiOptions:
    return ApiOptions(
        public_url=settings.public_url,
        version=metadata.version("csbs"),
        limits=LimitOptions(
            requests_max=settings.api_requests_max, body_wait_s=settings.api_body_wait_s
        ),
    )


def _listening(settings: Settings) -> socket.socket:
    host, _, port = settings.listen.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CannotListen(settings.listen, error.strerror or str(error)) from error
    if settings.tls_certificate_file is None and not _is_loopback(listener):
        listener.close()
        raise PlainBeyondLoopback(settings.listen)
    return listener


def _is_loopback(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _tell_where(settings: Settings, listener: socket.socket, say: Callable[[str], None]) -> None:
    host, port = listener.getsockname()[:2]
    scheme = "https" if settings.tls_certificate_file else "http"
    say(f"csbs listens on {scheme}://{f'[{host}]' if ':' in host else host}:{port}")


def _check_tls(settings: Settings) -> None:
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None and key is None:
        return
    if certificate is None or key is None:
        raise TlsUnusable(str(certificate), "set both, tls_certificate_file and tls_key_file")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise TlsUnusable(str(certificate), error.strerror or str(error)) from error


def _tell_first_password(service: Service, say: Callable[[str], None]) -> None:
    first = service.first_administrator
    if first is not None and first.password is not None:
        say(f"made the user {first.name} with the password {first.password} (shown only now)")


def _write_log_lines() -> None:
    """One JSON object a line on standard error, from our own log and that of libraries."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("csbs").setLevel(logging.INFO)

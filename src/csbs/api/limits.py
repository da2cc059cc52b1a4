"""What every request goes through first: bounds, an id, the log, the metrics, the audit trail.

As plain ASGI, so that a body is read once, within its bounds, before anything looks at it; its
bytes stay for who verifies a signature.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from csbs.api.errors import (
    BodyTooDeep,
    BodyTooLarge,
    Overloaded,
    RequestInvalid,
    RequestTooSlow,
    RouteUnknown,
    Unexpected,
)
from csbs.api.json_body import is_keepable, require_keepable
from csbs.domain.clock import Monotonic, NewId
from csbs.domain.errors import CsbsError

log = logging.getLogger(__name__)

#: What counts for the depth: strings are passed over as a whole.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """Bounds of one request, and of all together."""

    body_bytes_max: int = 1024**2
    json_depth_max: int = 32
    #: How long the body may take to arrive.
    body_wait_s: float = 30.0
    #: Requests in work at once; more are refused at once (503).
    requests_max: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A request that was answered, for those who keep account."""

    method: str
    path: str
    #: As the application declares it, with names in braces; empty for a path that is none.
    route: str
    #: The name of the call; empty likewise.
    action: str
    remote_address: str
    status: int
    duration_s: float
    state: MutableMapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the gate is given."""

    #: Makes the response to a path's error.
    refuse: Callable[[str, CsbsError], Response]
    #: Awaited before the answer goes out.
    finished: Callable[[Finished], Awaitable[None]]
    new_id: NewId
    monotonic: Monotonic


class Gate:
    """The application behind it gets whole, bounded requests only."""

    def __init__(self, app: ASGIApp, options: LimitOptions, around: Around) -> None:
        self._app = app
        self._options = options
        self._around = around
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(self, scope, send)
        path = scope["path"] = scope["path"].rstrip("/") or "/"
        if self._requests >= self._options.requests_max:
            await self.refuse(scope, receive, answer, Overloaded("this service"))
            return
        self._requests += 1
        try:
            _require_keepable(path, scope["query_string"])
            body = await self._body(path, scope, receive)
            scope["state"]["body"] = body
            await self._app(scope, _replayed(body, receive), answer.send)
        except CsbsError as error:
            await self.refuse(scope, receive, answer, error)
        except Exception:  # the top of a request: it is logged, and the caller told where to look
            request_id = scope["state"]["request_id"]
            log.exception("a request failed", extra={"request_id": request_id, "path": path})
            if answer.begun:
                raise
            await self.refuse(scope, receive, answer, Unexpected(request_id))
        finally:
            self._requests -= 1

    async def refuse(
        self, scope: Scope, receive: Receive, answer: _Answer, error: CsbsError
    ) -> None:
        """Answers with the error, in the way of the path's room."""
        scope["state"]["error"] = error
        await self._around.refuse(scope["path"], error)(scope, receive, answer.send)

    def begin(self, scope: Scope) -> float:
        """Gives the request its id; the time that it began."""
        scope.setdefault("state", {})["request_id"] = f"req-{self._around.new_id()}"
        return self._around.monotonic()

    async def end(self, scope: Scope, status: int, began_s: float) -> None:
        """Tells who keeps account."""
        await self._around.finished(
            Finished(
                method=scope["method"],
                path=scope["path"],
                route=_route(scope),
                action=getattr(scope.get("route"), "name", ""),
                remote_address=(scope.get("client") or ("",))[0],
                status=status,
                duration_s=self._around.monotonic() - began_s,
                state=scope["state"],
            )
        )

    async def _body(self, path: str, scope: Scope, receive: Receive) -> bytes:
        options = self._options
        too_large = BodyTooLarge(path, options.body_bytes_max)
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > options.body_bytes_max:
            raise too_large
        parts, size_bytes = [], 0
        try:
            async with asyncio.timeout(options.body_wait_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RequestInvalid("body", "it broke off")
                    part = message.get("body", b"")
                    size_bytes += len(part)
                    if size_bytes > options.body_bytes_max:
                        raise too_large
                    parts.append(part)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RequestTooSlow(path, options.body_wait_s) from None
        body = b"".join(parts)
        if _is_deeper(body, options.json_depth_max):
            raise BodyTooDeep(path, options.json_depth_max)
        require_keepable(body)
        return body


class _Answer:
    """What goes out: with the request's id, and not before the request was accounted for."""

    def __init__(self, gate: Gate, scope: Scope, send: Send) -> None:
        self.begun = False
        self._gate = gate
        self._scope = scope
        self._send = send
        self._began_s = gate.begin(scope)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            await self._gate.end(self._scope, message["status"], self._began_s)
            request_id = self._scope["state"]["request_id"].encode()
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", request_id),
                (b"x-openstack-request-id", request_id),
            ]
        await self._send(message)


def _require_keepable(path: str, raw_query: bytes) -> None:
    """Databases take no NUL: nothing is called so, and nobody need ask them."""
    if not is_keepable(path):
        raise RouteUnknown(path)
    if b"%00" in raw_query:
        raise RequestInvalid("query", "it has a character that cannot be used")


def _route(scope: Scope) -> str:
    """The path with names in the place of values; routers within routers keep no whole one."""
    if "route" not in scope:
        return ""
    segments = scope["path"].split("/")
    for name, value in scope.get("path_params", {}).items():
        if value in segments:
            last = len(segments) - 1 - segments[::-1].index(value)
            segments[last] = f"{{{name}}}"
    return "/".join(segments)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body again, then what comes from the client (that it went away)."""
    told = False

    async def receive_again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _is_deeper(body: bytes, depth_max: int) -> bool:
    """Whether it would be JSON that is deeper; wrong JSON is found by who reads it."""
    if body.count(b"[") + body.count(b"{") <= depth_max:
        return False
    depth = 0
    for found in _TOKEN.finditer(body):
        token = found.group()
        depth += (token in b"[{") - (token in b"]}")
        if depth > depth_max:
            return True
    return False

"""Who may ask, and what browsers may do with the answers: hosts, origins, a token, headers."""

from __future__ import annotations

import asyncio
import hmac
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of one's own machine."""

_OPEN = "/api/health"
_COOKIE = "unmask_token"
_DRAINED_BYTES, _DRAINED_SECONDS = 100_000_000, 20
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """Refuses what does not come from the server's own page, or does not know the token.

    A program without a browser sends no Origin and is let through. A page of somebody else's that
    makes a browser ask is not, nor is a name that was made to point to one's own machine.

    Args:
        app: What it guards.
        hosts: The names by which the server may be called; any when None.
        token: What has to be known, as `Authorization: Bearer TOKEN` or once as `?token=TOKEN`,
            which leaves a cookie.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: frozenset[str] | None = LOOPBACK, token: str | None = None
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            # The page needs no web socket.
            await (_closed if scope["type"] == "websocket" else self._app)(scope, receive, send)
            return

        body = _Body(receive)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope["method"] == "POST":
                    await body.drain()
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if not scope["path"].startswith("/assets"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        answer = self._answer(HTTPConnection(scope))
        await (answer or self._app)(scope, body.receive, with_headers)

    def _answer(self, request: HTTPConnection) -> Response | None:
        host = request.headers.get("host", "")
        if self._hosts is not None and urlsplit(f"//{host}").hostname not in self._hosts:
            return _refused(421, f"this server is not called {host!r}")
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return _refused(403, "pages of other origins may not ask")
        if "://" in request.url.path:
            return _refused(404, "this server fetches nothing from others")
        if self._token is None or request.url.path == _OPEN:
            return None
        if self._known(request.query_params.get("token", "")):
            # Out of the address line, where it would be seen and kept.
            there = RedirectResponse("/" + request.url.path.lstrip("/"), 303)
            there.set_cookie(_COOKIE, self._token, httponly=True, samesite="strict")
            return there
        cookie = SimpleCookie(request.headers.get("cookie", "")).get(_COOKIE)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._known(bearer) or (cookie is not None and self._known(cookie.value)):
            return None
        answer = _refused(401, "needs the token that the server was started with")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _known(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), (self._token or "").encode())


class _Body:
    """What a client sends. One that is refused reads the answer only when it has sent all of it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        try:
            await asyncio.wait_for(self._forget(), _DRAINED_SECONDS)
        except asyncio.TimeoutError:
            return

    async def _forget(self) -> None:
        seen = 0
        while not self._ended and seen < _DRAINED_BYTES:
            seen += len((await self.receive()).get("body", b""))


def _refused(status: int, text: str) -> Response:
    return JSONResponse({"detail": text}, status)


async def _closed(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1008})

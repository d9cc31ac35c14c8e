"""Authenticate requests: by token or, without one, only from this machine and not from web pages of others."""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

HERE = ("127.0.0.1", "localhost", "[::1]")


COOKIE = "saeviz"
"""The cookie that stands for the token in a browser."""
READING = ("GET", "HEAD")


class Guard:
    """ASGI middleware that passes on only allowed requests.

    With a `token`, requests that have it as `Authorization: Bearer TOKEN`. Without one, requests to a loopback name: a
    web page that makes its own name point here (DNS rebinding) has another.

    With `pages`, a browser may give the token once, as `/?token=TOKEN`, for a cookie; and what web pages of another
    origin ask is refused (`is_own`).
    """

    def __init__(self, app: ASGIApp, token: str | None, *, pages: bool = False) -> None:
        self.app = app
        self._pages = pages
        self._expected = _digest(f"Bearer {token}".encode()) if token is not None else None
        self._token = _digest(token.encode()) if token is not None else b""
        self._cookie = sha256(f"{COOKIE}\0{token}".encode()).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 303, 401 or 403, or pass on."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(f"there is nothing here for {scope['type']}")
        elif self._expected is None and _name(headers.get(b"host", b"")) not in HERE:
            await _refuse(send, 403, "this service is for this machine only")
        elif self._pages and not is_own(scope["method"], headers):
            await _refuse(send, 403, "only pages of this service may ask this; other programs send their Origin as it")
        elif self._expected is None or self._has_token(headers):
            await self.app(scope, receive, send)
        elif self._pages and scope["method"] in READING and self._gives_token(scope):
            cookie = f"{COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Lax"  # a link that was sent works
            await _answer(send, 303, b"", [(b"location", b"/"), (b"set-cookie", cookie.encode())])
        else:
            way = "; in a browser: /?token=TOKEN" if self._pages else ""
            await _refuse(send, 401, f"this service wants a token: Authorization: Bearer TOKEN{way}")

    def _has_token(self, headers: Mapping[bytes, bytes]) -> bool:
        if hmac.compare_digest(_digest(headers.get(b"authorization", b"")), self._expected or b""):
            return True
        given = [part.strip() for part in headers.get(b"cookie", b"").split(b";")] if self._pages else []
        wanted = _digest(f"{COOKIE}={self._cookie}".encode())
        return any(hmac.compare_digest(_digest(one), wanted) for one in given)

    def _gives_token(self, scope: Scope) -> bool:
        given = parse_qs(scope.get("query_string", b"")).get(b"token", [b""])
        return hmac.compare_digest(_digest(given[0]), self._token)


def is_own(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request can come from a page of this service, or from no web page at all, judged by what browsers send.

    What changes anything has to name this service as its origin, which a browser does for its pages only. What only
    reads is refused where a browser says that a page of another origin asks, unless the user follows a link.
    """
    site = headers.get(b"sec-fetch-site", b"same-origin")
    if method in READING:
        return site in (b"same-origin", b"none") or headers.get(b"sec-fetch-mode") == b"navigate"
    origin, host = headers.get(b"origin", b"").lower(), headers.get(b"host", b"").lower()
    return site == b"same-origin" and bool(host) and origin in (b"http://" + host, b"https://" + host)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _digest(value: bytes) -> bytes:
    return sha256(value).digest()  # of equal length, so that comparing does not reveal the length of the token


def _name(host: bytes) -> str:
    match = re.fullmatch(r"(\[[^]]*]|[^:]*)(:\d*)?", host.decode("latin-1").lower())
    return match[1] if match else ""


async def _refuse(send: Send, status: int, message: str) -> None:
    headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await _answer(send, status, json.dumps({"error": message}).encode(), headers)


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""Authenticate requests: by token or, without one, only from this machine and not from web pages in a browser."""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from hashlib import sha256
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

HERE = ("127.0.0.1", "localhost", "[::1]")


class Guard:
    """ASGI middleware that passes on only allowed requests.

    With a `token`, requests that have it as `Authorization: Bearer TOKEN`. Without one, requests to a loopback name: a
    web page that makes its own name point here (DNS rebinding) has another.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app = app
        self._expected = _digest(f"Bearer {token}".encode()) if token is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 403, or pass on."""
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(f"there is nothing here for {scope['type']}")
        elif self._expected is not None:
            if hmac.compare_digest(_digest(headers.get(b"authorization", b"")), self._expected):
                await self.app(scope, receive, send)
            else:
                await _refuse(send, 401, "this service wants a token: Authorization: Bearer TOKEN")
        elif _name(headers.get(b"host", b"")) in HERE:
            await self.app(scope, receive, send)
        else:
            await _refuse(send, 403, "this service is for this machine only")


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
    headers: list[Any] = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"error": message}).encode()})

"""HTTP servers on loopback, in threads of their own: what every stand-in for a service is made of.

They are part of the process of the test, which may look at what a server was asked and change what it answers. Nothing
is written to stderr.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers requests of any method with `answer`; what a server was made with are attributes of it."""

    def answer(self) -> None:
        """What a stand-in for a service does."""
        raise NotImplementedError

    def any_method(self) -> None:
        """Called for each of them."""
        self.answer()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = any_method  # noqa: N815 - named after the methods

    def body(self) -> bytes:
        """What came with the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def send(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """A whole answer; to HEAD without its body."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that has given up is no error of the server."""


class Loopback:
    """A server at `url` until it is closed; `state` are attributes of its handlers."""

    def __init__(
        self, handler: type[Handler], *, host: str = "127.0.0.1", certificate: Path | None = None, **state: Any
    ) -> None:
        self._server = _Server((host, 0), type(handler.__name__, (handler,), state))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Answer no more; safe to call twice."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

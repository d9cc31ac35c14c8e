"""A web server of our own that may misbehave in any way: each path is answered by a function of the test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from PIL import Image

from saeviz.testing.loopback import Handler, Loopback


def picture(colour: str = "red", kind: str = "png") -> bytes:
    """A small image file."""
    data = BytesIO()
    Image.new("RGB", (8, 6), colour).save(data, kind)
    return data.getvalue()


class Request(Handler):
    """One request; an answer writes to it."""

    protocol_version = "HTTP/1.1"
    site: Site

    def answer(self) -> None:
        self.close_connection = True
        self.site.asked.append(self.path)
        self.site.headers.append(dict(self.headers))
        answer = self.site.answers.get(self.path.partition("?")[0])
        with suppress(OSError):
            if answer is None:
                self.reply(404, b"nothing here", {"Content-Type": "text/plain"})
            elif callable(answer):
                answer(self)
            else:
                self.reply(200, answer, {"Content-Type": "image/png"})

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """A whole answer."""
        headers = {"Content-Length": str(len(body)), **(headers or {})}
        self.raw(f"HTTP/1.1 {status} x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n", body)

    def raw(self, head: str, body: bytes = b"") -> None:
        """Whatever bytes."""
        self.wfile.write(head.encode() + body)
        self.wfile.flush()

    def redirect(self, to: str, status: int = 302) -> None:
        """Send elsewhere."""
        self.reply(status, b"", {"Location": to})


class Site:
    """The server. `answers` says what each path shows: bytes of a PNG, or a function that gets the `Request`."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.answers: dict[str, bytes | Callable[[Request], None]] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.ended = threading.Event()
        self.server = Loopback(Request, host="0.0.0.0", certificate=certificate, site=self)
        self.port = self.server.port

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Where to find a path."""
        return f"{scheme}://{host}:{self.port}{path}"

    def stop(self) -> None:
        """Stop; answers that wait go on at once."""
        self.ended.set()
        self.server.close()

"""A real `saeviz serve` on loopback, and one that misbehaves on purpose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = "correct-horse-battery-staple"


class Served:
    """`saeviz serve` in a process of its own; `say` has what it wrote to stderr when it has ended."""

    def __init__(self, *arguments: object, token: str | None = TOKEN, port: int = 0, cwd: Path | None = None) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"SAEVIZ_TOKEN": token} if token else {})}
        command = [sys.executable, "-m", "saeviz", "serve", *map(str, arguments), "--port", str(port)]
        self.process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise AssertionError(self.process.stderr.read())
        self.port = int(re.search(r":(\d+)$", self.url)[1])

    def stop(self, *, kill: bool = False) -> str:
        """End it, with SIGKILL or as Ctrl-C does, and give what it wrote to stderr."""
        import signal

        self.process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
        return self.process.communicate(timeout=20)[1]


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[str]:
    """The address of a server whose every answer is what `answer(handler, number of the request)` sends."""

    class Handler(BaseHTTPRequestHandler):
        count = 0

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            Handler.count += 1
            answer(self, Handler.count)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - named after the methods

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """A whole answer."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)

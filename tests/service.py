"""A real `saeviz serve` on loopback, and one that misbehaves on purpose."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from saeviz.testing.loopback import Handler, Loopback
from tests.waiting import PATIENCE

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
        return self.process.communicate(timeout=PATIENCE)[1]


@contextmanager
def answering(give: Callable[[Handler, int], None]) -> Iterator[str]:
    """The address of a server whose every answer is what `give(handler, number of the request)` sends."""
    numbers = itertools.count(1)

    class Answering(Handler):
        def answer(self) -> None:
            self.body()
            give(self, next(numbers))

    with Loopback(Answering) as server:
        yield server.url


def send(handler: Handler, status: int, body: bytes = b"", **headers: str) -> None:
    """A whole answer."""
    handler.send(status, body, {name.replace("_", "-"): value for name, value in headers.items()})

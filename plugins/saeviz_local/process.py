"""One worker process, as the process that has started it sees it."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, Any, cast

import saeviz

COMMAND = (sys.executable, "-P", "-c", "from saeviz_local.worker import main; main()")
"""A new interpreter. Unlike a child of `multiprocessing`, it does not import the script that runs saeviz."""
WORKER_DIED = (OSError, EOFError, pickle.UnpicklingError)
"""Raised when a worker that has ended is asked."""


class Process:
    """A worker process, to which pickled work is given when it starts."""

    def __init__(self, work: bytes, environment: Mapping[str, str]) -> None:
        # In a session of its own, so that Ctrl-C reaches this process only, which then ends its workers.
        self._process = subprocess.Popen(  # noqa: S603 our own command
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        self._to, self._from = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        with suppress(OSError):  # it has died already, which is noticed when it is asked
            self._to.write(work)

    def do(self, shard: saeviz.Shard) -> Iterator[tuple[Any, ...]]:
        """What it answers while it does a shard. Raises one of `WORKER_DIED` if it ends before it is done."""
        pickle.dump(shard, self._to)
        self._to.flush()
        answer: tuple[Any, ...] = ("",)
        while answer[0] not in {"finished", "failed"}:
            answer = pickle.load(self._from)  # noqa: S301 from our own process
            yield answer

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self, patience: float) -> str:
        """Have it leave, end it if it takes longer than `patience` seconds, and say how it ended."""
        try:
            with suppress(OSError):
                pickle.dump(None, self._to)
                self._to.close()
            code = self._process.wait(patience or None)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._from.close()
        if code < 0:
            with suppress(ValueError):
                return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

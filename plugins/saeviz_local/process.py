"""One worker process, as the process that has started it sees it: a `saeviz.toolkit.workers.Worker`."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import IO, cast

import saeviz
from saeviz.toolkit.workers import PATIENCE, Answer, WorkerDied

COMMAND = (sys.executable, "-P", "-c", "from saeviz_local.worker import main; main()")
"""A new interpreter. Unlike a child of `multiprocessing`, it does not import the script that runs saeviz."""


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

    def wait_until_ready(self) -> None:
        """It can be given a shard at once, which waits in a pipe."""

    def do(self, shard: saeviz.Shard) -> Iterator[Answer]:
        """Give it a shard, and yield its answers."""
        answer: Answer = ("",)
        try:
            pickle.dump(shard, self._to)
            self._to.flush()
            while answer[0] not in {"finished", "failed"}:
                answer = pickle.load(self._from)  # noqa: S301 from our own process
                yield answer
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise WorkerDied(self._ended()) from error

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def end(self) -> None:
        """Have it leave, and end it if that takes long."""
        self._ended()
        self._from.close()

    def _ended(self) -> str:
        """How it ended, which it is asked to do."""
        with suppress(OSError, ValueError):  # it has ended, or was asked before
            pickle.dump(None, self._to)
            self._to.close()
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code < 0:
            with suppress(ValueError):
                return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

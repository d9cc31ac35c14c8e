"""A worker process: reads the work and then shards from its standard input, and answers on its standard output."""

from __future__ import annotations

import os
import pickle
import sys
from queue import SimpleQueue
from threading import Lock, Thread
from typing import IO, Any

import saeviz
from saeviz.toolkit.workers import answers_of, forward_log


def main() -> None:
    """Do the work of shards until there are no more, or until the process that gives them ends."""
    given, answers = os.fdopen(os.dup(0), "rb"), _Answers(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what libraries print is no answer
    sys.stdin.close()
    forward_log(lambda answer: answers.give(*answer))
    work = pickle.load(given)  # noqa: S301 from the process that has started this one
    shards: SimpleQueue[saeviz.Shard | None] = SimpleQueue()
    Thread(target=_receive, args=(given, shards), daemon=True).start()
    for shard in iter(shards.get, None):
        for answer in answers_of(work, shard):
            answers.give(*answer)


def _receive(given: IO[bytes], shards: SimpleQueue[saeviz.Shard | None]) -> None:
    """Notices at once when the other process ends, also in the middle of a shard."""
    while True:
        try:
            shard = pickle.load(given)  # noqa: S301 from the process that has started this one
        except (EOFError, OSError, pickle.UnpicklingError):
            os._exit(1)
        shards.put(shard)
        if shard is None:
            return


class _Answers:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = Lock()

    def give(self, *answer: Any) -> None:
        """Send an answer; several threads may."""
        with self._lock:
            try:
                pickle.dump(answer, self._file)
                self._file.flush()
            except OSError:  # nobody listens any more
                os._exit(1)

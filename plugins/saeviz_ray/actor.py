"""What runs in the processes of Ray that work."""

from __future__ import annotations

import logging
import math
import pickle
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import saeviz
from saeviz.toolkit.workers import Answer, answers_of

SECONDS_BETWEEN_STEPS = 0.5


class ShardActor:
    """Holds the work, which loads its models for the first shard."""

    def __init__(self) -> None:
        self._work: Callable[[saeviz.Shard], Iterator[int]] | None = None
        self._said = _Said()
        logger = logging.getLogger("saeviz")
        logger.handlers, logger.propagate = [self._said], False
        logger.setLevel(logging.INFO)

    def prepare(self, version: str, sign: Path | None, work: bytes) -> tuple[str, str]:
        """Take the work; returns the name of this machine, and why it cannot be done here, if so."""
        host = platform.node() or "a machine without a name"
        if version != saeviz.__version__:
            return host, f"has saeviz {saeviz.__version__}, the run has {version}; install the same on every machine"
        if sign is not None and not sign.exists():
            return host, (
                f"does not see the run directory, {sign.parent.parent}; it must be on storage that every machine of "
                "the Ray cluster has mounted under this path"
            )
        self._work = pickle.loads(work)  # noqa: S301 from the run
        return host, ""

    def do(self, shard: saeviz.Shard) -> Iterator[Answer]:
        """Do the work of a shard. Steps are summed up, because each answer becomes an object of Ray."""
        assert self._work is not None  # noqa: S101
        n_items, said = 0, -math.inf
        for kind, *told in answers_of(self._work, shard):
            yield from self._said.taken()
            n_items += told[0] if kind == "step" else 0
            if n_items and (kind != "step" or time.monotonic() - said > SECONDS_BETWEEN_STEPS):
                yield "step", n_items
                n_items, said = 0, time.monotonic()
            if kind != "step":
                yield kind, *told


class _Said(logging.Handler):
    """Keeps what is logged until the run takes it, which writes the log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._records: deque[Answer] = deque()

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(("log", record.levelno, record.getMessage()))

    def taken(self) -> Iterator[Answer]:
        """What was said since this was called last."""
        while self._records:
            yield self._records.popleft()

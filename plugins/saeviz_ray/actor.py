"""What runs in the processes of Ray that work."""

from __future__ import annotations

import math
import pickle
import platform
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import saeviz
from saeviz.toolkit.workers import Answer, answers_of, forward_log

SECONDS_BETWEEN_STEPS = 0.5


class ShardActor:
    """Holds the work, which loads its models for the first shard."""

    def __init__(self) -> None:
        self._work: Callable[[saeviz.Shard], Iterator[int]] | None = None
        self._said = deque[Answer]()
        forward_log(self._said.append)

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
            while self._said:
                yield self._said.popleft()
            n_items += told[0] if kind == "step" else 0
            if n_items and (kind != "step" or time.monotonic() - said > SECONDS_BETWEEN_STEPS):
                yield "step", n_items
                n_items, said = 0, time.monotonic()
            if kind != "step":
                yield kind, *told

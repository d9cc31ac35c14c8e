"""Worker processes: each has a thread here that hands it one shard after the other."""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import SimpleQueue
from threading import Lock, Thread

import saeviz
from saeviz_local.process import WORKER_DIED, Process

logger = logging.getLogger("saeviz")
PATIENCE = 10.0
"""Seconds for a worker to leave once all is done."""


class Pool:
    """Workers that share a list of shards. `close` ends them, whatever they are doing."""

    def __init__(
        self,
        work: Callable[[saeviz.Shard], Iterator[int]],
        shards: Sequence[saeviz.Shard],
        environments: Sequence[Mapping[str, str]],
        tries: int,
    ) -> None:
        self._work = pickle.dumps(work)
        self._n_shards = len(shards)
        self._tries = tries
        self._todo: SimpleQueue[saeviz.Shard | None] = SimpleQueue()
        for shard in shards:
            self._todo.put(shard)
        self._told: SimpleQueue[saeviz.Step | saeviz.SaevizError] = SimpleQueue()
        self._deaths: Counter[int] = Counter()
        self._processes: set[Process] = set()
        self._lock = Lock()
        self._closed = False
        self._threads = [
            Thread(target=self._tend, args=(f"worker {number}", environment), daemon=True)
            for number, environment in enumerate(environments, start=1)
        ]

    def steps(self) -> Iterator[saeviz.Step]:
        """What the workers do, until all shards are done; raises the first error."""
        for thread in self._threads:
            thread.start()
        left = self._n_shards
        while left:
            told = self._told.get()
            if isinstance(told, saeviz.SaevizError):
                raise told
            left -= told.finished
            yield told
        self._wait()

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        self._wait()

    def _wait(self) -> None:
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2 * PATIENCE)

    def _tend(self, name: str, environment: Mapping[str, str]) -> None:
        process = None
        while (shard := self._todo.get()) is not None:
            process = process or self._started(environment)
            if process is None:
                return
            try:
                self._have_done(process, name, shard)
            except WORKER_DIED:
                self._say_that_it_died(name, process.end(0), shard)
                self._forget(process)
                process = None
        if process is not None:
            process.end(PATIENCE)
            self._forget(process)

    def _started(self, environment: Mapping[str, str]) -> Process | None:
        """A new worker; None where all are being ended."""
        with self._lock:
            if self._closed:
                return None
            process = Process(self._work, environment)
            self._processes.add(process)
            return process

    def _forget(self, process: Process) -> None:
        with self._lock:
            self._processes.discard(process)

    def _have_done(self, process: Process, name: str, shard: saeviz.Shard) -> None:
        for kind, *told in process.do(shard):
            if kind == "log":
                logger.log(told[0], "%s", told[1])
            elif kind == "failed":
                self._told.put(getattr(saeviz, told[0])(told[1]))
            else:
                self._told.put(saeviz.Step(shard, name, told[0], finished=kind == "finished"))

    def _say_that_it_died(self, name: str, how: str, shard: saeviz.Shard) -> None:
        if self._closed:
            return
        self._deaths[shard.number] += 1
        n = self._deaths[shard.number]
        if n < self._tries:
            logger.warning("%s %s while it worked on %s, which is tried again", name, how, shard)
            self._todo.put(shard)
            return
        times = "once" if n == 1 else f"{n} times"
        self._told.put(
            saeviz.WorkerError(
                f"executor: a worker died {times} while it worked on {shard}, and the last one {how}; if memory is "
                "short, use fewer workers or a smaller batch_size; else look at these images"
            )
        )

"""Workers that share the shards of a run, for executors. What a worker is, a process or an actor, is the plugin's."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol

from pydantic import Field

import saeviz
from saeviz.formats.plain import OneLineFormatter
from saeviz.values.regular import reason_of

logger = logging.getLogger("saeviz")
PATIENCE = 20.0
"""Seconds to wait for a worker that should end."""
Answer = tuple[Any, ...]
"""What a worker sends: `("step", n_items)`, `("log", level, message)`, perhaps with a traceback at the end, and last
`("finished", 0)` or `("failed", name_of_the_error, message)`."""


class PoolOptions(saeviz.Options):
    """Options of every executor that has a `Pool`."""

    shard_items: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="images that a worker handles together; best a multiple of batch_size",
    )
    tries: int = Field(default=3, ge=1, le=100, description="how often to try images on which workers die")


class WorkerDied(Exception):  # noqa: N818 not an error of the run, which goes on with another worker
    """A worker ended before it was done; the message says how, such as `was killed by SIGKILL`."""


class Worker(Protocol):
    """A worker, started."""

    def wait_until_ready(self) -> None:
        """Return when it can be given a shard. Raises `WorkerDied`, or the `SaevizError` that keeps it from working."""

    def do(self, shard: saeviz.Shard) -> Iterator[Answer]:
        """Give it a shard and yield its answers, up to the last one. Raises `WorkerDied`."""
        ...

    def kill(self) -> None:
        """End it at once, from any thread; whoever waits for it gets `WorkerDied`."""

    def end(self) -> None:
        """End it when it has nothing to do, or is dead already, and forget it."""


def answers_of(work: Callable[[saeviz.Shard], Iterator[int]], shard: saeviz.Shard) -> Iterator[Answer]:
    """Do the work of a shard in a worker, and yield what to answer."""
    try:
        for n_items in work(shard):
            yield "step", n_items
    except saeviz.SaevizError as error:
        yield "failed", _public_name(error), str(error)
    else:
        yield "finished", 0


def forward_log(give: Callable[[Answer], None]) -> None:
    """In a worker: have answers made of what is logged, to be sent to the process that writes the log of the run."""
    logger.handlers, logger.propagate = [_Forward(give)], False
    logger.setLevel(logging.DEBUG)


class _Forward(logging.Handler):
    """Of what is logged for developers only the tracebacks of components are of use, which messages refer to."""

    def __init__(self, give: Callable[[Answer], None]) -> None:
        super().__init__(logging.DEBUG)
        self._give = give

    def emit(self, record: logging.LogRecord) -> None:
        answer = ("log", record.levelno, record.getMessage())
        if record.exc_info:
            self._give((*answer, OneLineFormatter().formatException(record.exc_info)))
        elif record.levelno >= logging.INFO:
            self._give(answer)


class Pool:
    """Workers that share a list of shards. `start` starts each one, and another one in its place when it has died.

    A shard over which `tries` workers have died ends the run with a `WorkerError`. A worker that dies as often before
    it is ready is done without, as long as there are others. `close` ends the workers, whatever they are doing.
    """

    def __init__(self, start: Sequence[Callable[[], Worker]], shards: Sequence[saeviz.Shard], tries: int) -> None:
        self._n_shards = len(shards)
        self._n_workers = len(start)
        self._tries = tries
        self._todo: SimpleQueue[saeviz.Shard | None] = SimpleQueue()
        for shard in shards:
            self._todo.put(shard)
        self._told: SimpleQueue[saeviz.Step | saeviz.SaevizError] = SimpleQueue()
        self._deaths: Counter[int] = Counter()
        self._workers: set[Worker] = set()
        self._starting: set[Worker] = set()
        self._lock = Lock()
        self._closed = False
        self._threads = [
            Thread(target=self._tend, args=(f"worker {number}", one), daemon=True)
            for number, one in enumerate(start, start=1)
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
        self._leave(self._starting)

    def close(self) -> None:
        """End all workers."""
        self._leave(self._workers)

    def _leave(self, killed: set[Worker]) -> None:
        """Have the workers end when they have nothing to do; some are killed."""
        with self._lock:
            self._closed = True
            for worker in killed:
                worker.kill()
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(PATIENCE)

    def _tend(self, name: str, start: Callable[[], Worker]) -> None:
        """A thread: shards are done by one worker after the other, until one has lived to the end."""
        while (worker := self._started(name, start)) is not None:
            is_alive = self._hand_shards(worker, name)
            self._forget(worker)
            if is_alive:
                return

    def _hand_shards(self, worker: Worker, name: str) -> bool:
        """Give a worker one shard after the other; returns whether it is alive when there are no more."""
        while (shard := self._todo.get()) is not None:
            try:
                self._have_done(worker, name, shard)
            except WorkerDied as how:
                self._say_that_it_died(f"{name} {how}", shard)
                return False
        return True

    def _started(self, name: str, start: Callable[[], Worker]) -> Worker | None:
        """A new worker that is ready; None if there is none or it is no longer needed."""
        for n_tries in range(1, self._tries + 1):
            worker = None
            try:
                worker = self._new(start)
                if worker is None:
                    return None
                worker.wait_until_ready()
            except WorkerDied as how:
                reason = f"{name} {how}"
                if worker is not None:
                    self._forget(worker)
                    reason += " before it could begin to work"
                if n_tries == self._tries:
                    self._give_up(reason)
                elif not self._closed:
                    logger.warning("%s; another one is started", reason)
            except saeviz.SaevizError as error:
                if worker is not None:
                    self._forget(worker)
                self._told.put(error)
                return None
            else:
                with self._lock:
                    self._starting.discard(worker)
                return worker
        return None

    def _new(self, start: Callable[[], Worker]) -> Worker | None:
        """A worker that begins to start; None if none is needed any more."""
        with self._lock:
            if self._closed:
                return None
            try:
                worker = start()
            except OSError as error:  # no memory, too many processes or files
                raise WorkerDied(f"cannot be started: {reason_of(error)}") from error
            self._workers.add(worker)
            self._starting.add(worker)
            return worker

    def _give_up(self, reason: str) -> None:
        """One worker less; without any, the run ends."""
        with self._lock:
            if self._closed:
                return
            self._n_workers -= 1
            n_left = self._n_workers
        if n_left:
            logger.warning("%s; the run goes on without it", reason)
        else:
            self._told.put(saeviz.WorkerError(f"executor: {reason}, and there is no other worker"))

    def _forget(self, worker: Worker) -> None:
        worker.end()
        with self._lock:
            self._workers.discard(worker)
            self._starting.discard(worker)

    def _have_done(self, worker: Worker, name: str, shard: saeviz.Shard) -> None:
        for kind, *told in worker.do(shard):
            if kind == "log":
                _log(*told)
            elif kind == "failed":
                self._told.put(getattr(saeviz, told[0])(told[1]))
            else:
                self._told.put(saeviz.Step(shard, name, told[0], finished=kind == "finished"))

    def _say_that_it_died(self, who_and_how: str, shard: saeviz.Shard) -> None:
        if self._closed:
            return
        self._deaths[shard.number] += 1
        n = self._deaths[shard.number]
        if n < self._tries:
            logger.warning("%s while it worked on %s, which is tried again", who_and_how, shard)
            self._todo.put(shard)
            return
        times = "once" if n == 1 else f"{n} times"
        self._told.put(
            saeviz.WorkerError(
                f"executor: a worker died {times} while it worked on {shard} (at last, {who_and_how}); if memory is "
                "short, use fewer workers or a smaller batch_size; else look at these images"
            )
        )


def _log(level: int, message: str, traceback: str = "") -> None:
    record = logger.makeRecord(logger.name, level, "", 0, "%s", (message,), None)
    record.exc_text = traceback or None
    if logger.isEnabledFor(level):
        logger.handle(record)


def _public_name(error: saeviz.SaevizError) -> str:
    """The nearest kind of error that the other process has, too: a plugin may have its own."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return next(name for name in names if isinstance(error, getattr(saeviz, name, ())))

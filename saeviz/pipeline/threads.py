"""Run calls in threads that can be abandoned at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_END = object()


def outcomes(call: Callable[[T], R], items: Iterable[T], n_threads: int, stop: Event) -> Iterator[tuple[T, Future[R]]]:
    """`call(item)` for every item, `n_threads` at once: each item with its settled future, first done first.

    After `stop` is set, no further call starts; calls in progress are still yielded. Leaving the iteration, for example
    by Ctrl-C, does not wait for calls, because the threads are daemons, unlike those of the standard library's pools.
    With one thread, calls are made in the caller's thread.
    """
    if n_threads == 1:
        for item in items:
            if stop.is_set():
                return
            yield item, _settled(call, item)
        return
    yield from _outcomes_of_threads(call, items, n_threads, stop)


def _outcomes_of_threads(
    call: Callable[[T], R], items: Iterable[T], n_threads: int, stop: Event
) -> Iterator[tuple[T, Future[R]]]:
    waiting, lock = iter(items), Lock()
    done: SimpleQueue[tuple[T, Future[R]] | None] = SimpleQueue()

    def work() -> None:
        while True:
            with lock:
                item = _END if stop.is_set() else next(waiting, _END)
            if item is _END:
                done.put(None)
                return
            done.put((item, _settled(call, item)))  # type: ignore[arg-type]

    for number in range(n_threads):
        Thread(target=work, name=f"saeviz-{number}", daemon=True).start()
    at_work = n_threads
    try:
        while at_work:
            outcome = done.get()
            if outcome is None:
                at_work -= 1
            else:
                yield outcome
    finally:
        stop.set()


def _settled(call: Callable[[T], R], item: T) -> Future[R]:
    future: Future[R] = Future()
    try:
        future.set_result(call(item))
    except BaseException as error:  # noqa: BLE001  raised again where the result is asked for
        future.set_exception(error)
    return future

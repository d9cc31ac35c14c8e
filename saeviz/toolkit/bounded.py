"""Answers of other machines, read to their end only where they have one: bounded in bytes and in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from importlib import import_module
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class EndlessError(Exception):
    """An answer has more bytes, or takes longer, than it may."""


def bounded(parts: Iterable[bytes], most_bytes: int, seconds: float) -> Iterator[bytes]:
    """The parts of an answer. Raises `EndlessError` for too many bytes, and where the last is not there in time."""
    size, end = 0, time.monotonic() + seconds
    for part in parts:
        size += len(part)
        if size > most_bytes:
            raise EndlessError(f"an answer has more than {most_bytes >> 20} MiB")
        if time.monotonic() > end:
            raise EndlessError(f"an answer is not finished after {seconds:g} s")
        yield part


def within(seconds: float, ask: Callable[[], T]) -> T:
    """The result of `ask()`. Raises `EndlessError` if there is none in time, or what `ask` raises.

    Time-outs of HTTP libraries count from the last byte, so they never end a response whose head arrives byte by byte.
    `ask` runs in a thread that is abandoned in that case; as a daemon, it does not keep the program from ending.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # noqa: BLE001  raised again where the result is asked for
            future.set_exception(error)

    Thread(target=work, name="saeviz-request", daemon=True).start()
    if not wait([future], seconds).done:
        raise EndlessError(f"an answer is not finished after {seconds:g} s")
    return future.result()


def refuse_compressed(headers: Mapping[str, str]) -> None:
    """Raise `EndlessError` for an answer that may unfold into any length."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise EndlessError("an answer is compressed although this was not requested")


IDENTITY = {"Accept-Encoding": "identity"}
"""What is not compressed cannot unfold into more than was sent."""


def bounding(most_bytes: int, seconds: float) -> Callable[[Any], None]:
    """A response hook for a client of httpx or its successor httpx2; the client is to send `IDENTITY`.

    Whoever reads a response gets `EndlessError` beyond the bounds, and at once where it is compressed all the same.
    """

    def bound(response: Any) -> None:
        refuse_compressed(response.headers)
        stream = response.stream
        base = import_module(type(response).__module__.partition(".")[0]).SyncByteStream

        members = {"__iter__": lambda _: bounded(stream, most_bytes, seconds), "close": lambda _: stream.close()}
        response.stream = type("Bounded", (base,), members)()

    return bound

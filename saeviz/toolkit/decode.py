"""Decode pictures in threads, ahead of the model that consumes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from os import cpu_count
from typing import TypeVar

from saeviz.contract.context import Context
from saeviz.values.errors import ImageError
from saeviz.values.images import ImageItem

T = TypeVar("T")
WORKERS = min(8, max(2, cpu_count() or 1))


def decode_ahead(
    items: Iterable[ImageItem],
    transform: Callable[[ImageItem], T],
    *,
    batch_size: int,
    context: Context,
    workers: int = WORKERS,
) -> Iterator[tuple[list[ImageItem], list[T]]]:
    """Yields batches of items and their transformed values, in order.

    `transform` runs in `workers` threads, at most two batches ahead, so memory stays bounded. An item for which it
    raises `ImageError` is reported through `context.failed` and left out; a batch is never empty.
    """
    source = iter(items)
    waiting: deque[tuple[ImageItem, Future[T]]] = deque()
    ready_items: list[ImageItem] = []
    ready: list[T] = []
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="saeviz-decode")

    def fill() -> None:
        for item in islice(source, 2 * batch_size + workers - len(waiting)):
            waiting.append((item, pool.submit(transform, item)))

    try:
        fill()
        while waiting:
            item, future = waiting.popleft()
            try:
                ready.append(future.result())
                ready_items.append(item)
            except ImageError as error:
                context.failed(item.item_id, str(error))
            fill()
            if len(ready) == batch_size:
                yield ready_items, ready
                ready_items, ready = [], []
        if ready:
            yield ready_items, ready
    finally:
        pool.shutdown(wait=False, cancel_futures=True)

"""Show progress: a bar on a terminal, otherwise a log line from time to time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
logger = logging.getLogger("saeviz")
SECONDS_BETWEEN_LINES = 10.0


def chunked(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`; the last one may be shorter."""
    waiting = iter(items)
    while chunk := list(islice(waiting, size)):
        yield chunk


def watched(items: Iterable[Any], total: int | None, label: str, *, as_bar: bool) -> Iterator[Any]:
    """Yield the items and show progress if they take long: a bar, or log lines from time to time."""
    from tqdm import tqdm

    if as_bar:
        yield from tqdm(items, total=total, desc=label, delay=2, leave=False)
        return
    said = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - said > SECONDS_BETWEEN_LINES:
            logger.info("%s: %d of %s", label, number, total if total is not None else "?")
            said = time.monotonic()
        yield item

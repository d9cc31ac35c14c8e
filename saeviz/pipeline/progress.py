"""Show progress: a bar on a terminal, otherwise a log line from time to time."""

from __future__ import annotations

import logging
import time
from collections import Counter
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


class Tally:
    """Progress of several workers: a bar, or log lines from time to time; both say how fast each worker is."""

    def __init__(self, total: int, label: str, *, as_bar: bool) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=label, delay=2, leave=False) if as_bar else None
        self._total = total
        self._label = label
        self._done: Counter[str] = Counter()
        self._began = self._said = time.monotonic()

    def add(self, worker: str, n_items: int) -> None:
        """A worker has done some more items."""
        from tqdm import tqdm

        self._done[worker] += n_items
        if self._bar is not None:
            self._bar.set_postfix_str(self._rates(), refresh=False)
            self._bar.update(n_items)
        elif time.monotonic() - self._said > SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            n_done = self._done.total()
            left = (self._total - n_done) * (self._said - self._began) / max(n_done, 1)
            shown = self._label, n_done, self._total, tqdm.format_interval(left), self._rates()
            logger.info("%s: %d of %d, %s left (%s)", *shown)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def _rates(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-3)
        return ", ".join(f"{worker}: {n / seconds:.1f}/s" for worker, n in sorted(self._done.items()))

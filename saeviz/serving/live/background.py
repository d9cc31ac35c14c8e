"""Something slow that several requests need: done once, in the background, while they are told how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
PATIENCE = 1.0
"""Seconds that a request waits for the result."""


class Background(Generic[T]):
    """Runs `make` when its result is first asked for; what it fails with is raised once, and the next request retries.

    `make` may set `done` and `total`.
    """

    def __init__(self, make: Callable[[Background[T]], Awaitable[T]]) -> None:
        self.done = self.total = 0
        self._make = make
        self._task: asyncio.Future[T] | None = None

    async def result(self) -> T | None:
        """What was made; None while it is being made."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._make(self))
        await asyncio.wait([self._task], timeout=PATIENCE)
        if not self._task.done():
            return None
        if self._task.cancelled() or self._task.exception() is not None:
            failed, self._task = self._task, None
            return failed.result()
        return self._task.result()

"""Limit concurrent requests, and the bytes of bodies and responses in progress, after authentication."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

REQUESTS = 64
"""Maximum number of concurrent requests; further ones get status 503."""
BYTES = 128 * 2**20
"""Maximum bytes of all bodies and responses in progress; a request that would exceed it waits."""
MOST_BYTES = 64 * 2**20
"""Of one request, and about of one answer."""
MOST_ITEMS = 1024
"""Items in one answer."""
LONGEST_WAIT = 30.0
"""Maximum seconds that a request waits for memory, and that a body may pause."""
_STACK = "saeviz.until_sent"
P = ParamSpec("P")
T = TypeVar("T")


class Limited:
    """ASGI middleware that passes on at most `REQUESTS` requests at a time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 503."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._in_progress >= REQUESTS:
            await busy()(scope, receive, send)
            return
        self._in_progress += 1
        try:
            async with AsyncExitStack() as until_sent:
                await self.app({**scope, _STACK: until_sent}, receive, send)
        finally:
            self._in_progress -= 1


def busy() -> JSONResponse:
    """The response to a request beyond the limit."""
    return JSONResponse({"error": "too much is asked at once; try again"}, 503, {"Retry-After": "1"})


class Room:
    """A budget of bytes for requests; those that do not fit wait in order of arrival."""

    def __init__(self, size: int = BYTES) -> None:
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, request: Request, size: int) -> None:
        """Reserve `size` bytes until the response is sent. Raises `TimeoutError` if they stay unavailable."""
        await request.scope[_STACK].enter_async_context(self._held(size))

    @asynccontextmanager
    async def _held(self, size: int) -> AsyncIterator[None]:
        if self._waiting or size > self._free:
            await self._turn(size)
        else:
            self._free -= size
        try:
            yield
        finally:
            self._give(size)

    async def _turn(self, size: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await asyncio.wait_for(turn, LONGEST_WAIT)
        except BaseException:
            with suppress(ValueError):
                self._waiting.remove((size, turn))
            if turn.done() and not turn.cancelled():
                self._give(size)
            else:
                self._admit()
            raise

    def _give(self, size: int) -> None:
        self._free += size
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= size
                turn.set_result(None)


class Threads:
    """Runs calls in a few dedicated threads; further calls wait."""

    def __init__(self, n: int) -> None:
        self._pool = ThreadPoolExecutor(n, thread_name_prefix="saeviz-serve")

    async def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the call."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *args, **kwargs))


class OneThread(Threads):
    """Runs calls one after the other, in a dedicated thread.

    What they share needs no lock. A thread that has freed large arrays also keeps some of their memory, so many threads
    that take turns would hold it many times.
    """

    def __init__(self) -> None:
        super().__init__(1)


class Recent:
    """The results that were used last, as many as fit into `most` bytes; what several ask at once is made once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._made: OrderedDict[Hashable, bytes] = OrderedDict()
        self._making: dict[Hashable, asyncio.Future[bytes]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """What is kept under `key`, or else what `make` gives; a failure is not kept."""
        if key in self._made:
            self._made.move_to_end(key)
            return self._made[key]
        if key not in self._making:
            self._making[key] = asyncio.ensure_future(self._make(key, make))
        return await asyncio.shield(self._making[key])

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            data = self._made[key] = await make()
        finally:
            del self._making[key]
        self._size += len(data)
        while self._size > self._most:
            self._size -= len(self._made.popitem(last=False)[1])
        return data

"""Handle connections: time-outs, a limit on idle ones, and prompt sending of small answers."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import socket
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from saeviz.values.errors import ExitCode

HEADER_SECONDS = 10.0
"""Seconds within which a connection must send the head of a request."""
STALLED_SECONDS = 60.0
"""Seconds without reading any of a response after which a client is disconnected."""
CLOSING_SECONDS = 5.0
"""Seconds that responses in progress have when the service stops."""
MOST_IDLE = 256
"""The maximum number of idle connections; beyond it, those idle longest are closed."""


class Connection(H11Protocol):
    """One connection."""

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it up; where too many are idle one of them is closed."""
        super().connection_made(transport)
        self._watch_head()
        idle = [one for one in self.connections if isinstance(one, Connection) and one.waits_since is not None]
        if len(idle) > MOST_IDLE:
            min(idle, key=lambda one: one.waits_since or 0.0).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        self._watch_head()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; an answer to what came before it, if one is in progress, is dropped."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def shutdown(self) -> None:
        """Finish what is in progress; a request that has not arrived completely is dropped."""
        super().shutdown()
        if self.cycle is None or self.cycle.response_complete:
            return
        if self.cycle.more_body:
            self.transport.abort()
        else:
            self.loop.call_later(CLOSING_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        """Called when the client is slow to read."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Called when the client reads again."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    @property
    def waits_since(self) -> float | None:
        """Since when the head of a request is waited for, None while one is in progress."""
        return self._head_timer.when() - HEADER_SECONDS if self._head_timer is not None else None

    def _watch_head(self) -> None:
        waits = self.conn.their_state is h11.IDLE
        if waits and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)
        elif not waits and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; raises `OSError` where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.create_server((host.strip("[]"), port), family=family, backlog=128)
    # asyncio sends small answers at once (TCP_NODELAY) only on sockets that say that they are TCP.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=made.detach())


def serve_app(app: ASGIApp, listening: socket.socket) -> None:
    """Serve until interrupted. What strangers send is not worth a line on the terminal; failures of the app are."""
    config: Any = uvicorn.Config(
        app, http=Connection, ws="none", log_level="error", access_log=False, server_header=False
    )
    try:
        _Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGINT, _end_now)  # a thread may still wait for a labeler


class _Server(uvicorn.Server):
    """Ends after what is in progress at the first Ctrl-C, at once at the second."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, or end."""
        super().handle_exit(sig, frame)
        if self.force_exit:
            _end_now(sig, frame)


def _end_now(sig: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as handlers of signals are called
    """End without waiting for threads, which an interpreter does; temporary folders are removed."""
    atexit._run_exitfuncs()
    os._exit(ExitCode.INTERRUPTED)

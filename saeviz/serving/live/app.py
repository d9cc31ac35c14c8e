"""The app that serves a run to a browser: the files of its viewer, and JSON beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from saeviz.serving.errors import ERRORS
from saeviz.serving.live import features, heatmaps, images, look, neighbours, notes, partner, patches, run, words
from saeviz.serving.live.openapi import with_description
from saeviz.serving.live.opened import Live

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every answer. Another run may be served at the same address next time, so nothing is kept."""
PARTS = (run, features, images, heatmaps, neighbours, look, words, patches, notes, partner)
"""The modules with the endpoints below `/api`."""


def make_live_app(live: Live) -> ASGIApp:
    """The app, without authentication and limits. Prepares the run first."""
    live.prepare()

    @asynccontextmanager
    async def closing(_: Starlette) -> AsyncIterator[None]:
        yield
        await live.with_store(live.close)

    routes = with_description([endpoint for part in PARTS for endpoint in part.routes(live)])
    viewer = Route("/{path:path}", _viewer(live.page, live.viewer))
    return WithHeaders(Starlette(routes=[*routes, viewer], exception_handlers=ERRORS, lifespan=closing))


def _viewer(page: Path, folder: Path) -> Callable[[Request], Awaitable[Response]]:
    """A handler that serves the files that are in the folder now, and no others."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    files[""] = page

    async def file(request: Request) -> Response:
        path = files.get(request.path_params["path"])
        if path is None:
            raise HTTPException(404, "there is nothing here")
        return FileResponse(path)

    return file


class WithHeaders:
    """Middleware that sends `HEADERS` with every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, sending)

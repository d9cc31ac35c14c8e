"""The HTTP API; see `docs/reference/http.md` for its description."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from saeviz.formats.wire import NPZ
from saeviz.pictures.files import picture_file
from saeviz.serving.bodies import whole_body
from saeviz.serving.errors import ERRORS
from saeviz.serving.limits import MOST_BYTES, MOST_ITEMS, OneThread, Room
from saeviz.serving.service import Service
from saeviz.values.errors import DataError
from saeviz.values.features import FeatureSpace
from saeviz.values.images import ImageItem

VERSIONS = [1]
PAGE = 1000
"""Images and ids in one answer, at most ten times as many ids."""

T = TypeVar("T")


def make_app(service: Service) -> Starlette:
    """The ASGI app of the service, without authentication and limits."""
    handlers = _Handlers(service)

    @asynccontextmanager
    async def closing(_: Starlette) -> AsyncIterator[None]:
        yield
        await handlers.with_store(service.close)

    return Starlette(
        routes=[
            Route("/", handlers.describe),
            Route("/v1/features", handlers.spaces),
            Route("/v1/features", handlers.clear, methods=["DELETE"]),
            Route("/v1/features/{space}", handlers.write, methods=["PUT"]),
            Route("/v1/features/{space}/items", handlers.item_ids),
            Route("/v1/features/{space}/read", handlers.read, methods=["POST"]),
            Route("/v1/images", handlers.images),
            Route("/v1/images/item", handlers.image),
            Route("/v1/images/file", handlers.file),
            Route("/v1/embeddings", handlers.embedder),
            Route("/v1/embeddings", handlers.embed, methods=["POST"]),
        ],
        exception_handlers=ERRORS,
        lifespan=closing,
    )


class _Handlers:
    def __init__(self, service: Service) -> None:
        self.service = service
        self.room = Room()
        self.with_store, self.with_model = OneThread(), OneThread()

    async def describe(self, _: Request) -> Response:
        from importlib.metadata import version

        return JSONResponse(
            {
                "service": "saeviz",
                "versions": VERSIONS,
                "saeviz": version("saeviz"),
                "features": True,
                "writable": self.service.features.writable,
                "images": self.service.images is not None,
                "embeddings": self.service.embeddings is not None,
                "limits": {"bytes": MOST_BYTES, "items": MOST_ITEMS},
            }
        )

    async def spaces(self, _: Request) -> Response:
        spaces = await self.with_store(self.service.features.spaces)
        return JSONResponse({"spaces": [{"space": str(space), "n_features": space.n_features} for space in spaces]})

    async def item_ids(self, request: Request) -> Response:
        space = _space(request)
        start, stop = _page(request, 10 * PAGE)
        item_ids = await self.with_store(self.service.features.item_ids, space)
        return JSONResponse({"total": len(item_ids), "item_ids": item_ids[start:stop]})

    async def read(self, request: Request) -> Response:
        space = _space(request)
        asked = await self._json(request)
        item_ids = asked.get("item_ids") if isinstance(asked, dict) else None
        if not isinstance(item_ids, list) or not all(isinstance(item_id, str) for item_id in item_ids):
            raise HTTPException(400, 'the body must be {"item_ids": [...]}, a list of texts')
        await self.room.take(request, MOST_BYTES)
        return Response(await self.with_store(self.service.features.read, space, item_ids), media_type=NPZ)

    async def write(self, request: Request) -> Response:
        self._needs_to_be_writable()
        space = _space(request)
        body = await self._body(request)
        await self.with_store(self.service.features.write, body, space)
        return Response(status_code=204)

    async def clear(self, _: Request) -> Response:
        self._needs_to_be_writable()
        await self.with_store(self.service.features.clear)
        return Response(status_code=204)

    async def images(self, request: Request) -> Response:
        images = _served(self.service.images, "images")
        start, stop = _page(request, PAGE)
        items = await run_in_threadpool(images.all)
        page = await run_in_threadpool(lambda: [_known(item) for item in items[start:stop]])
        return JSONResponse({"total": len(items), "items": page})

    async def image(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(_known, await self._item(request)))

    async def file(self, request: Request) -> Response:
        item = await self._item(request)
        await self.room.take(request, MOST_BYTES)
        return Response(
            await run_in_threadpool(picture_file, item, MOST_BYTES),
            media_type="application/octet-stream",
            headers={"X-Content-Type-Options": "nosniff"},
        )

    async def embedder(self, _: Request) -> Response:
        embeddings = _served(self.service.embeddings, "embeddings")
        return JSONResponse(await self.with_model(embeddings.describe))

    async def embed(self, request: Request) -> Response:
        embeddings = _served(self.service.embeddings, "embeddings")
        body = await self._body(request)
        return Response(await self.with_model(embeddings.embed, body), media_type=NPZ)

    async def _item(self, request: Request) -> ImageItem:
        images = _served(self.service.images, "images")
        item = await run_in_threadpool(images.get, request.query_params.get("item_id", ""))
        if item is None:
            raise HTTPException(404, "there is no such image")
        return item

    async def _body(self, request: Request) -> bytearray:
        return await whole_body(request, self.room, MOST_BYTES)

    async def _json(self, request: Request) -> Any:
        try:
            return json.loads(await self._body(request))
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, "the body must be JSON") from error

    def _needs_to_be_writable(self) -> None:
        if not self.service.features.writable:
            raise HTTPException(403, "these are the features of a run, which only the run itself writes")


def _known(item: ImageItem) -> dict[str, Any]:
    return {
        "item_id": item.item_id,
        "ratings": dict(item.ratings),
        "individual": {name: dict(given) for name, given in item.individual.items()},
        "metadata": dict(item.metadata),
        "version": item.fingerprint,
        "group": item.group,
    }


def _served(part: T | None, what: str) -> T:
    if part is None:
        raise HTTPException(404, f"this service has no {what}")
    return part


def _space(request: Request) -> FeatureSpace:
    try:
        n_features = int(request.query_params.get("n_features", ""))
        return FeatureSpace.parse(request.path_params["space"], n_features)
    except (ValueError, DataError) as error:
        raise HTTPException(400, "write /v1/features/layer11.cls...?n_features=49152") from error


def _page(request: Request, most: int) -> tuple[int, int]:
    try:
        start = int(request.query_params.get("start", "0"))
        limit = int(request.query_params.get("limit", str(most)))
    except ValueError as error:
        raise HTTPException(400, "start and limit must be whole numbers") from error
    if start < 0 or limit < 1:
        raise HTTPException(400, "start must be 0 or more, limit 1 or more")
    return start, start + min(limit, most)

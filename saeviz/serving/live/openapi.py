"""`/api/openapi.json`: all endpoints below `/api`, for notebooks and for tools that read OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from saeviz.serving.live.answers import Json
from saeviz.serving.live.endpoint import Endpoint

ABOUT = """What `saeviz serve RUN` answers about a run. A feature is written `layer11.cls/4711`. What changes \
anything, and what takes a file, is asked with POST or PUT and needs a header `Origin` with the address of this \
service. If the service has a token, every request needs it, too."""


def description_of(endpoints: Sequence[Endpoint], below: str = "") -> dict[str, Any]:
    """The description of these endpoints, OpenAPI 3.1; they may lie `below` a path, as those of two runs do."""
    paths: dict[str, Any] = {}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method.lower()] = one.operation()
    return {
        "openapi": "3.1.0",
        "info": {"title": "saeviz serve", "version": version("saeviz"), "description": ABOUT},
        "servers": [{"url": below or "/"}],
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def with_description(endpoints: Sequence[Endpoint]) -> list[Route]:
    """The endpoints, and one that describes them all and itself."""

    async def described(request: Request) -> Response:
        return Json(description_of(everything, request.scope.get("root_path", "")))

    own = Endpoint("/api/openapi.json", described, "This description.", answer={"type": "object"})
    everything = [*endpoints, own]
    return list(everything)

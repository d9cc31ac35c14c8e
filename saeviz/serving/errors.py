"""What a client is told if a request fails: a status and one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from saeviz.pipeline.session import logger
from saeviz.serving.limits import busy
from saeviz.values.errors import PluginError, SaevizError


def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return _error(error.status_code, error.detail)


def _our_error(_: Request, error: Exception) -> Response:
    return _error(422, str(error))


def _failed(_: Request, error: Exception) -> Response:
    logger.error("%s", error)
    return _error(500, str(error))


def _waited(_: Request, __: Exception) -> Response:
    return busy()


def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


ERRORS: Mapping[Any, Callable[[Request, Exception], Response]] = {
    HTTPException: _http_error,
    SaevizError: _our_error,
    PluginError: _failed,
    ClientDisconnect: _gone,
    TimeoutError: _waited,
}
"""The handlers of an app."""

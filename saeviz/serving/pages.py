"""Serve the report of a run to a browser: only the files of its folder."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from saeviz.formats.rundir import RunDir
from saeviz.values.errors import ConfigError

HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Security headers: a page may load its own files, but nothing from other hosts."""


def make_pages(rundir: RunDir) -> Starlette:
    """The app that serves `report/` of a run. Raises `ConfigError` if it has no page or is a link to another place."""
    folder = rundir.path.resolve() / "report"
    page = folder / "index.html"
    if not page.is_file():
        raise ConfigError(
            f"{rundir.path} has no HTML report; `saeviz run --until report` writes one, --api serves the rest"
        )
    if page.resolve() != page:
        raise ConfigError(f"{rundir.path / 'report'} is a link that leads elsewhere; only files of the run are served")
    return Starlette(routes=[Mount("/", _Pages(directory=folder, html=True, follow_symlink=False))])


class _Pages(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response

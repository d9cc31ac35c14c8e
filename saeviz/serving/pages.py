"""Serve the pages of a run to a browser: only the files of their folders."""

from __future__ import annotations

from pathlib import Path
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
FOLDERS = ("report", "explorer")
"""Of a run, each with an `index.html`."""


def make_pages(rundir: RunDir) -> Starlette:
    """The app that serves `report/` of a run at the root and `explorer/` below it; at the root, too, if it is alone.

    Raises `ConfigError` if it has none, or if one is a link to another place.
    """
    home = rundir.path.resolve()
    folders = [home / name for name in FOLDERS if (home / name / "index.html").is_file()]
    if not folders:
        raise ConfigError(
            f"{rundir.path} has no HTML report; `saeviz run --until report` writes one, --api serves the rest"
        )
    for folder in folders:
        page = folder / "index.html"
        if page.resolve() != page:
            where = rundir.path / folder.name
            raise ConfigError(f"{where} is a link that leads elsewhere; only files of the run are served")
    below = [Mount(f"/{folder.name}", _pages(folder)) for folder in folders if folder.name == "explorer"]
    return Starlette(routes=[*below, Mount("/", _pages(folders[0]))])


def _pages(folder: Path) -> StaticFiles:
    return _Pages(directory=folder, html=True, follow_symlink=False)


class _Pages(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response

"""Two served runs: their comparison at the root, and the viewer of each below it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from saeviz.comparison.compare import compare
from saeviz.comparison.result import Comparison, ComparisonReporter
from saeviz.contract.context import Context
from saeviz.formats.plain import one_line
from saeviz.pipeline.blame import blaming
from saeviz.pipeline.reading import read_run
from saeviz.pipeline.session import logger
from saeviz.results.run import Run
from saeviz.serving.errors import ERRORS
from saeviz.serving.live.app import WithHeaders, make_live_app
from saeviz.serving.live.opened import REPORTER, Live
from saeviz.serving.live.partner import Other
from saeviz.values.errors import ConfigError, SaevizError

VIEWERS = ("a/", "b/")
STYLE = "comparison.css"
SECONDS = 3
"""Until a page that waits for the comparison looks again."""


class Pair:
    """Two served runs and their comparison, which is made in the background: of large runs it takes minutes."""

    def __init__(self, one: Live, other: Live) -> None:
        self.lives = (one, other)
        one.other, other.other = Other(other, f"../{VIEWERS[1]}"), Other(one, f"../{VIEWERS[0]}")
        self.others = (one.other, other.other)
        self.page: Path | None = None
        self.why = ""
        self._folder = TemporaryDirectory(prefix="saeviz-compare-")
        self.folder = Path(self._folder.name)

    def start(self) -> None:
        """Begin to compare; if the service ends, so does that."""
        Thread(target=self._compare, name="saeviz-compare", daemon=True).start()

    def close(self) -> None:
        """Remove what was written."""
        self._folder.cleanup()

    def _compare(self) -> None:
        why = "the comparison failed, see the terminal"
        try:
            one, other = (read_run(live.rundir, live.session.grants) for live in self.lives)  # for this thread
            found = compare(one, other)
            for side, run in zip(self.others, "ab", strict=True):
                side.found(found, run)
            self.page = self._write(found, (one, other))
        except SaevizError as error:
            why = one_line(str(error))
            logger.warning("the runs are not compared: %s", why)
        finally:
            if self.page is None:
                self.why = why
                for side in self.others:
                    side.failed(why)

    def _write(self, found: Comparison, runs: tuple[Run, Run]) -> Path:
        reporter = self.lives[0].session.manager.build("reporter", REPORTER, {}, Context())
        if not isinstance(reporter, ComparisonReporter):
            raise ConfigError(f"the reporter {REPORTER} has no page about two runs")
        with blaming(f"the reporter {REPORTER}", log=None):
            return reporter.write_comparison(found, runs, self.folder, VIEWERS)

    def waiting(self) -> str:
        """The page while the runs are compared, or where they cannot be."""
        links = [f'<a href="{at}">{escape(live.name)}</a>' for at, live in zip(VIEWERS, self.lives, strict=True)]
        again = "" if self.why else f'<meta http-equiv="refresh" content="{SECONDS}">'
        said = f"They cannot be compared: {escape(self.why)}." if self.why else "They are being compared…"
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
            f'<meta name="viewport" content="width=device-width">{again}<link rel="icon" href="data:,">'
            f"<title>saeviz</title></head><body><h1>{' and '.join(links)}</h1><p>{said}</p></body></html>"
        )


def make_pair_app(one: Live, other: Live) -> ASGIApp:
    """The app, without authentication and limits. Prepares both runs first."""
    pair = Pair(one, other)
    apps = [make_live_app(live) for live in pair.lives]
    pair.start()

    async def root(_: Request) -> Response:
        return HTMLResponse(pair.waiting()) if pair.page is None else FileResponse(pair.page)

    async def style(_: Request) -> Response:
        return FileResponse(pair.folder / STYLE)

    def slash(at: str) -> Route:
        return Route(f"/{at.rstrip('/')}", lambda _: RedirectResponse(f"/{at}"))

    @asynccontextmanager
    async def closing(_: Starlette) -> AsyncIterator[None]:
        yield
        for live in pair.lives:
            await live.with_store(live.close)
        pair.close()

    mounts = [Mount(f"/{at.rstrip('/')}", app) for at, app in zip(VIEWERS, apps, strict=True)]
    routes = [Route("/", root), Route(f"/{STYLE}", style), *map(slash, VIEWERS), *mounts]
    return WithHeaders(Starlette(routes=routes, exception_handlers=ERRORS, lifespan=closing))

"""A run as `saeviz serve RUN` serves it, asked in this process: without sockets, guard and command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from starlette.testclient import TestClient

from saeviz.formats.rundir import RunDir
from saeviz.pipeline.reading import Grants
from saeviz.serving.limits import Limited
from saeviz.serving.live.app import make_live_app
from saeviz.serving.live.opened import Live

FAKES = ["module:saeviz.testing.fakes"]


@contextmanager
def asking(run: Path, plugins: Sequence[str] = FAKES) -> Iterator[TestClient]:
    """A client of a served run of fakes."""
    live = Live(RunDir.open(run), Grants(plugins))
    with TestClient(Limited(make_live_app(live)), base_url="http://localhost") as client:
        yield client


def picture_of(colour: str, size: tuple[int, int] = (64, 48), kind: str = "PNG") -> bytes:
    """An image file of one colour."""
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()

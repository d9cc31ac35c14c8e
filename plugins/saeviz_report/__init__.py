"""The HTML report of a run: one page that opens from disk."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

import saeviz


class HtmlOptions(saeviz.Options):
    """What the page shows."""

    title: str | None = Field(None, description="heading of the page; default: the name of the run directory")
    top_images: int = Field(8, ge=1, le=100, description="number of most activating images shown for each feature")
    thumbnail_size: int = Field(160, ge=32, le=1024, description="height of a thumbnail in pixels")


@saeviz.hookimpl
def saeviz_reporters() -> Iterable[saeviz.ReporterSpec]:
    """The reporter `html`."""
    yield saeviz.ReporterSpec(
        name="html",
        summary="a self-contained page: summary, selected features and their images",
        options=HtmlOptions,
        factory="saeviz_report.reporter:HtmlReport",
    )

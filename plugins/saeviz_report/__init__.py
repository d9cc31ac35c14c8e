"""Reports of a run: pages that open from disk, and what a paper needs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

import saeviz


class HtmlOptions(saeviz.Options):
    """What the report shows, and how it is written."""

    title: str | None = Field(None, description="heading of the page; default: the name of the run directory")
    top_images: int = Field(12, ge=1, le=100, description="number of most activating images shown for each feature")
    thumbnail_size: int = Field(208, ge=32, le=1024, description="height of a picture in pixels")
    heatmaps: int = Field(
        0,
        ge=0,
        le=100,
        description=(
            "number of top images of each selected feature on which its card can show where it fires; needs the model"
        ),
    )
    single_file: bool = Field(
        default=False, description="whether to write a single file to share, `report.html`, instead of a folder"
    )


class PaperOptions(saeviz.Options):
    """Where the files go."""

    folder: Annotated[Path | None, saeviz.PATH] = Field(
        None, description="folder to write to; default: `paper` in the run directory"
    )


@saeviz.hookimpl
def saeviz_reporters() -> Iterable[saeviz.ReporterSpec]:
    """The reporters `html` and `paper`."""
    yield saeviz.ReporterSpec(
        name="html",
        summary="a page of every feature and image to look through: overview, filters, plots, cards, lists",
        options=HtmlOptions,
        factory="saeviz_report.explorer.reporter:HtmlReport",
    )
    yield saeviz.ReporterSpec(
        name="paper",
        summary="a methods paragraph, BibTeX, tables as CSV and LaTeX, hashes of images and weights",
        options=PaperOptions,
        factory="saeviz_report.paper:Paper",
    )

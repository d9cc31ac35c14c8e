"""Images that a table or a list names, by path or by URL, with the ratings in its other columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

import saeviz
from saeviz.toolkit.column_options import RaterOptions
from saeviz.toolkit.fetch import FetchOptions


class UrlOptions(FetchOptions, RaterOptions):
    """Options of the image provider `url`."""

    path: Path = Field(
        description="table with a row per image, or per image and rater (.csv, .tsv, .json, .jsonl, .parquet), or a "
        "text file with a line per image",
        **saeviz.PATH,
    )
    image_column: str | None = Field(
        None, description="column with the images; default: url, image_url, file, path or image, whichever exists"
    )
    item_column: str | None = Field(
        None, description="column with the item id; default: the path, or the URL without secrets"
    )

    stream: bool = Field(
        False,
        description="read a Parquet file or a folder of them, CSV, JSON lines or a list a few rows at a time, for what "
        "does not fit into memory or has the pictures in it; which columns are ratings is decided by the first 10,000 "
        "rows",
    )


class TableOptions(UrlOptions):
    """Options of the image provider `table`."""

    folder: Path | None = Field(
        None, description="what relative paths are relative to; default: the table's folder", **saeviz.PATH
    )


@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    """The providers `table` and `url`."""
    yield saeviz.ImageProviderSpec(
        name="table",
        summary="a CSV, TSV, JSON or Parquet table of paths or URLs, ratings and metadata",
        options=TableOptions,
        factory="saeviz_table.streamed:open_table",
    )
    yield saeviz.ImageProviderSpec(
        name="url",
        summary="a list or table of URLs, fetched with limits and cached",
        options=UrlOptions,
        factory="saeviz_table.streamed:open_urls",
        needs=("urllib3",),
        install="saeviz[url]",
    )

"""Images of a folder, with their ratings from a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

import saeviz
from saeviz.toolkit.column_options import RaterOptions


class FolderOptions(RaterOptions):
    """Options of the image provider `folder`."""

    path: Path = Field(description="folder of images, searched with its subfolders", json_schema_extra={"path": True})
    ratings: Path | None = Field(
        None,
        description="table with a row per image, or per image and rater: .csv, .tsv, .json (records or columns), "
        ".jsonl or .parquet; text files may be compressed with gzip (.csv.gz)",
        json_schema_extra={"path": True},
    )
    file_column: str | None = Field(
        None,
        description="column with the image file, relative to the table or to the folder; "
        "default: file, filename, path or image, whichever exists",
    )
    item_column: str | None = Field(
        None,
        description="column with the item id; without a file column the id is the file's path or name, "
        "with or without its ending",
    )


@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    """The provider `folder`."""
    yield saeviz.ImageProviderSpec(
        name="folder",
        summary="a folder of image files, ratings from a CSV, TSV, JSON or Parquet table",
        options=FolderOptions,
        factory="saeviz_folder.provider:FolderImages",
    )

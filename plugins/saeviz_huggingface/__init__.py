"""Images of a data set that the library `datasets` can load, from a folder or from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, field_validator, model_validator

import saeviz
from saeviz.toolkit.column_options import ColumnOptions


class HuggingFaceOptions(ColumnOptions):
    """Options of the image provider `huggingface`."""

    path: str = Field(
        description="hub id (owner/name), or a folder from `save_to_disk`, of images (imagefolder) or of Parquet files",
        **saeviz.PATH,
    )
    config: str | None = Field(None, description="configuration, for a data set with several")
    split: str = Field("train", description="split, or a part of it, as in train[:1000]")
    revision: str | None = Field(None, description="branch, tag or commit on the hub; a commit pins what is loaded")
    image_column: str | None = Field(None, description="column with the images; default: the one that has images")
    item_column: str | None = Field(None, description="column with the item id; default: the row number, from 0")

    stream: bool = Field(
        False,
        description="read Parquet files a few rows at a time, without downloading the data set; which columns are "
        "ratings is decided by the first 10,000 rows",
    )

    @model_validator(mode="after")
    def _streams_whole_splits(self) -> HuggingFaceOptions:
        if self.stream and "[" in self.split:
            whole = self.split.partition("[")[0]
            raise ValueError(f"a part of a split is not streamed; write split = {whole!r} and run with --limit")
        return self

    @field_validator("path")
    @classmethod
    def _is_no_url(cls, path: str) -> str:
        if "://" in path:
            raise ValueError("write owner/name or a folder; a URL is not accepted because it may contain a password")
        return path


@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    """The provider `huggingface`."""
    yield saeviz.ImageProviderSpec(
        name="huggingface",
        summary="a data set of the `datasets` library, from a folder or the Hugging Face hub",
        options=HuggingFaceOptions,
        factory="saeviz_huggingface.streamed:open_images",
        needs=("datasets",),
        install="saeviz[huggingface]",
    )

"""Images of tar files, as WebDataset and img2dataset write them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

import saeviz
from saeviz.toolkit.column_options import RaterOptions
from saeviz.toolkit.fetch import FetchOptions


class WebDatasetOptions(FetchOptions, RaterOptions):
    """Options of the image provider `webdataset`."""

    path: Path | None = Field(
        None,
        description="folder of tar files, one tar file, or a pattern such as shards/train-{000000..000127}.tar or "
        "shards/*.tar",
        **saeviz.PATH,
    )
    url: str | None = Field(
        None, description="URL of a tar file, or a pattern such as https://host/train-{000000..000127}.tar"
    )
    ratings: Path | None = Field(
        None,
        description="table with a row per image, or per image and rater; default: the ratings are fields of the "
        "samples' .json files",
        **saeviz.PATH,
    )
    item_column: str | None = Field(
        None,
        description="column of the table with the sample's key, or with TAR/KEY; default: __key__, key, item_id or id, "
        "whichever exists",
    )
    max_megabytes: float = Field(
        10_000, gt=0, le=1_000_000, description="largest tar file to fetch, in MB", **saeviz.NEUTRAL
    )
    timeout: float = Field(
        3600,
        gt=0,
        le=86_400,
        description="seconds that one attempt to fetch a tar file may take, including redirects",
        **saeviz.NEUTRAL,
    )

    @field_validator("url")
    @classmethod
    def _is_public(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("write http://HOST/... or https://HOST/...; other tar files are read from a folder (path)")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("a user, password or query may be a secret; download such files and set path instead")
        return url

    @model_validator(mode="after")
    def _one_source(self) -> WebDatasetOptions:
        if (self.path is None) == (self.url is None):
            raise ValueError("set path (a folder, a tar file or a pattern) or url, one of the two")
        if self.ratings is None and (self.item_column or self.rater_column):
            raise ValueError("item_column and rater_column are about a table; set ratings")
        return self


@saeviz.hookimpl
def saeviz_image_providers() -> Iterator[saeviz.ImageProviderSpec]:
    """The provider `webdataset`."""
    yield saeviz.ImageProviderSpec(
        name="webdataset",
        summary="tar files of images as WebDataset has them, from a folder or by URL; read one by one",
        options=WebDatasetOptions,
        factory="saeviz_webdataset.provider:WebDatasetImages",
    )

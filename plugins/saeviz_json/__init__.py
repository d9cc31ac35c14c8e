"""The store `json`: sparse features as text that people can read and search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

import saeviz


class JsonOptions(saeviz.Options):
    """Options of the store `json`."""

    path: Path | None = Field(
        None, description="folder of the features; default: inside the run directory", **saeviz.PATH
    )
    layout: Literal["batch", "item"] = Field(
        "batch",
        description="batch: files batch_{n}.json with several items each; item: one file per item; an existing "
        "folder keeps its layout",
        **saeviz.NEUTRAL,
    )
    shard_rows: int = Field(
        32, ge=1, le=1_000_000, description="minimum number of items per batch file", **saeviz.NEUTRAL
    )
    n_features: int = Field(
        49_152,
        ge=1,
        le=100_000_000,
        description="number of features of a space, for a folder without an index",
    )


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """The store `json`."""
    yield saeviz.FeatureStoreSpec(
        name="json",
        summary="readable {item: {feature: value}} files, for small data, debugging and other programs",
        options=JsonOptions,
        factory="saeviz_json.store:JsonStore",
    )

"""The store `json`: sparse features as text that people can read and search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

import saeviz


class JsonOptions(saeviz.Options):
    """Options of the store `json`."""

    path: Path | None = Field(None, description="folder of the features; default: in the run directory", **saeviz.PATH)
    layout: Literal["batch", "item"] = Field(
        "batch",
        description="batch_{n}.json with some items each, or a file per item; a folder goes on as it is",
        **saeviz.NEUTRAL,
    )
    shard_rows: int = Field(
        32, ge=1, le=1_000_000, description="items per batch file at least, once there are so many", **saeviz.NEUTRAL
    )
    n_features: int = Field(
        49_152,
        ge=1,
        le=100_000_000,
        description="features of a space in a folder that has no index and so does not say",
    )


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """The store `json`."""
    yield saeviz.FeatureStoreSpec(
        name="json",
        summary="readable {item: {feature: value}} files; for small data, debugging and other programs",
        options=JsonOptions,
        factory="saeviz_json.store:JsonStore",
    )

"""The store `json`: sparse features as text that people can read and search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

import saeviz


class JsonOptions(saeviz.Options):
    """Options of the store `json`."""

    path: Path | None = Field(
        None, description="folder of the features; default: in the run directory", json_schema_extra={"path": True}
    )
    shard_rows: int = Field(32, ge=1, description="items per file at least, once there are so many", **saeviz.NEUTRAL)


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """The store `json`."""
    yield saeviz.FeatureStoreSpec(
        name="json",
        summary="readable {item: {feature: value}} files; for small data and for debugging",
        options=JsonOptions,
        factory="saeviz_json.store:JsonStore",
    )

"""The store `npz`: sparse shards in NumPy's own file format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

import saeviz


class NpzOptions(saeviz.Options):
    """Options of the store `npz`."""

    path: Path | None = Field(
        None, description="folder of the features; default: inside the run directory", json_schema_extra={"path": True}
    )
    encoding: Literal["packed", "scipy"] = Field(
        "packed",
        description="both are exact; packed takes half the space, scipy can be read by scipy.sparse.load_npz",
        **saeviz.NEUTRAL,
    )
    shard_rows: int = Field(1024, ge=1, le=1_000_000, description="minimum number of items per file", **saeviz.NEUTRAL)


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """The store `npz`."""
    yield saeviz.FeatureStoreSpec(
        name="npz",
        summary="sparse matrices in .npz files with an index; exact",
        options=NpzOptions,
        factory="saeviz_npz.store:NpzStore",
    )

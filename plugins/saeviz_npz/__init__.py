"""The store `npz`: sparse shards in NumPy's own file format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

import saeviz
from saeviz.toolkit.objects import FORMS, check_url


class NpzOptions(saeviz.Options):
    """Options of the store `npz`."""

    path: Path | None = Field(
        None, description="folder of the features; default: inside the run directory", json_schema_extra={"path": True}
    )
    url: str | None = Field(
        None,
        description=f"in place of path: a folder of an object store, {FORMS}; pip install 'saeviz[cloud]'",
    )
    encoding: Literal["packed", "scipy"] = Field(
        "packed",
        description="both are exact; packed takes half the space, scipy can be read by scipy.sparse.load_npz",
        **saeviz.NEUTRAL,
    )
    shard_rows: int = Field(1024, ge=1, le=1_000_000, description="minimum number of items per file", **saeviz.NEUTRAL)

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        return None if url is None else check_url(url)

    @model_validator(mode="after")
    def _is_one_place(self) -> NpzOptions:
        if self.path is not None and {"s3:", "gs:"} & set(self.path.parts):
            raise ValueError(f"path is a folder on this machine; give {FORMS} as url")
        if self.url is not None and self.path is not None:
            raise ValueError("url and path name two places; give one of them")
        return self


@saeviz.hookimpl
def saeviz_feature_stores() -> Iterator[saeviz.FeatureStoreSpec]:
    """The store `npz`."""
    yield saeviz.FeatureStoreSpec(
        name="npz",
        summary="sparse matrices in .npz files with an index; exact",
        options=NpzOptions,
        factory="saeviz_npz.store:open_store",
    )

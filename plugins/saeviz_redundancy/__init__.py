"""Scorer `redundancy`: which features are copies of one another, so that ten copies of a concept count once."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

import saeviz


class RedundancyOptions(saeviz.Options):
    """Options of `redundancy`."""

    threshold: float = Field(
        default=0.8,
        ge=0.6,
        lt=1,
        description="two features belong together if their activations correlate at least this much over the images",
    )
    decoder_threshold: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description=(
            "two features of a layer also belong together if the cosine of their decoder directions is at least "
            "this; default: directions are not compared. Loads the SAEs"
        ),
    )
    min_active: int = Field(
        default=10,
        ge=1,
        le=1_000_000,
        description="leave out features that fire on fewer images, because they may agree by chance",
    )


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    """Offer `redundancy`."""
    yield saeviz.ScorerSpec(
        name="redundancy",
        summary="clusters of features that fire together, across layers and tokens",
        options=RedundancyOptions,
        factory="saeviz_redundancy.scorer:Redundancy",
        uses_embeddings=False,
        columns=(
            saeviz.ColumnInfo(
                "cluster",
                "row, from 0, of the leader of the features that fire together, the same for all of them; empty if the "
                "feature was not compared",
            ),
            saeviz.ColumnInfo("cluster_size", "number of features in the cluster", "features"),
        ),
    )

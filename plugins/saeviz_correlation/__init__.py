"""Scorer `pearson-bh`: which features go along with which human ratings."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

import saeviz


class CorrelationOptions(saeviz.Options):
    """Options of `pearson-bh`."""

    alpha: float = Field(default=0.05, gt=0, lt=1, description="false discovery rate that `significant` keeps to")
    min_active: int = Field(
        default=10,
        ge=1,
        description="a pair of feature and rating is tested when the feature fires on at least so many rated images",
    )
    ratings: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="the ratings to correlate with; default all"
    )


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    """Offer `pearson-bh`."""
    yield saeviz.ScorerSpec(
        name="pearson-bh",
        summary="Pearson correlation with every rating, Benjamini-Hochberg over the whole run",
        options=CorrelationOptions,
        factory="saeviz_correlation.scorer:PearsonBH",
    )

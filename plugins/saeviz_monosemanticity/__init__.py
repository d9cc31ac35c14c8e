"""Scorer `monosemanticity`: how alike the images are on which a feature fires."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

import saeviz

Definition = Literal["top-k", "global", "top-k-global-weights"]
Thresholds = Literal["document", "calibrated"]


class MonosemanticityOptions(saeviz.Options):
    """Options of `monosemanticity`."""

    definition: Definition = Field(
        default="top-k",
        description=(
            "`top-k`: the top_k most activating images, weights min-max scaled over these; `global`: all images, "
            "weights min-max scaled over all; `top-k-global-weights`: images of `top-k`, weights of `global`"
        ),
    )
    top_k: int = Field(
        default=20,
        ge=3,
        le=1_000_000,
        description="images per feature, the last of which has weight 0; `global` uses all images",
    )
    thresholds: Thresholds = Field(
        default="calibrated",
        description=(
            "cut-offs of ms_class and of the selector `tiered`: `calibrated` one and two standard deviations above "
            "the mean cosine of random pairs of this run's images; `document` 0.35 and 0.50, the values that this gave "
            "with DINOv2 on one data set"
        ),
    )
    draws: int = Field(
        default=10_000,
        ge=0,
        le=10_000_000,
        description=(
            "maximum number of random draws of images for ms_p; a feature whose score many of the first 1,000 "
            "draws reach "
            "stops there. 0, and always with `global` or more than 100 images: an approximation from the null's mean, "
            "spread and skewness"
        ),
    )
    include_self_pairs: bool = Field(
        default=False,
        description="also count each image's similarity with itself, always 1, as the plain double sum does",
    )


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    """Offer `monosemanticity`."""
    yield saeviz.ScorerSpec(
        name="monosemanticity",
        summary="mean similarity of the images that a feature fires on, weighted by activation",
        options=MonosemanticityOptions,
        factory="saeviz_monosemanticity.scorer:Monosemanticity",
        columns=("monosemanticity", "ms_class", "ms_p", "ms_q"),
        needs_embeddings=True,
    )

"""Scorer `monosemanticity`: how alike the images are on which a feature fires."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

import saeviz
from saeviz.toolkit.works import FALSE_DISCOVERY_RATE

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
        description="number of images per feature, of which the last has weight 0; `global` uses all images",
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


_COLUMNS = (
    saeviz.ColumnInfo(
        "monosemanticity",
        "mean cosine similarity of pairs of images that the feature fires on, weighted by activation, at most 1",
        better="higher",
    ),
    saeviz.ColumnInfo("ms_class", "polysemantic, moderate or monosemantic, by the cut-offs of the run"),
    saeviz.ColumnInfo("ms_note", "why the feature has no score"),
    saeviz.ColumnInfo("ms_baseline_mean", "mean cosine similarity of random pairs of the run's images"),
    saeviz.ColumnInfo("ms_baseline_sd", "standard deviation of the cosine similarity of random pairs"),
    saeviz.ColumnInfo("ms_null_mean", "mean of the score if the same weights belonged to random images"),
    saeviz.ColumnInfo("ms_null_sd", "standard deviation of the score if the same weights belonged to random images"),
    saeviz.ColumnInfo("ms_z", "score minus the mean of the null", "SD of the null", "higher"),
    saeviz.ColumnInfo("ms_p", "share of random images that are at least as alike", better="lower"),
    saeviz.ColumnInfo("ms_q", "ms_p adjusted for all features of the run", better="lower"),
    saeviz.ColumnInfo("monosemanticity_2", "the same score by the second embedding", better="higher"),
    saeviz.ColumnInfo("ms_class_2", "class of the score by the second embedding"),
)


@saeviz.hookimpl
def saeviz_scorers() -> Iterator[saeviz.ScorerSpec]:
    """Offer `monosemanticity`."""
    yield saeviz.ScorerSpec(
        name="monosemanticity",
        summary="mean similarity of the images that a feature fires on, weighted by activation",
        options=MonosemanticityOptions,
        factory="saeviz_monosemanticity.scorer:Monosemanticity",
        columns=_COLUMNS,
        needs_embeddings=True,
        cites=(
            saeviz.Citation(
                "Monosemanticity score",
                "Pach, Karthik, Bouniot, Belongie & Akata (2025)",
                "Sparse Autoencoders Learn Monosemantic Features in Vision-Language Models",
                "NeurIPS 2025. arXiv:2504.02821",
            ),
            replace(FALSE_DISCOVERY_RATE, when="ms_q"),
        ),
    )

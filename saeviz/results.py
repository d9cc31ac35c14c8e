"""A run, opened for reading: what reporters and notebooks work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.types import (
    Failure,
    Feature,
    FeatureBatch,
    FeatureLabel,
    FeatureSpace,
    ImageItem,
    Selected,
    TopImage,
)

if TYPE_CHECKING:
    import pandas as pd

    from saeviz.types import Float32Array


class Run:
    """The results of a run directory. Tables are read on first use and kept."""

    dir: Path

    @property
    def manifest(self) -> Mapping[str, Any]:
        """`run.json`: configuration without secrets, versions, a digest, counts and seconds per stage."""
        raise NotImplementedError

    @property
    def facts(self) -> Mapping[str, Any]:
        """Figures about the whole run that scorers left, by name."""
        raise NotImplementedError

    @property
    def spaces(self) -> list[FeatureSpace]:
        """The feature spaces of the run."""
        raise NotImplementedError

    @property
    def ratings(self) -> list[str]:
        """The names of the ratings, in their order."""
        raise NotImplementedError

    @property
    def items(self) -> Sequence[ImageItem]:
        """Every image of the run that has features."""
        raise NotImplementedError

    @property
    def scores(self) -> pd.DataFrame:
        """A row per (layer, tokens, feature)."""
        raise NotImplementedError

    @property
    def correlations(self) -> pd.DataFrame:
        """A row per (layer, tokens, feature, rating)."""
        raise NotImplementedError

    @property
    def selected(self) -> list[Selected]:
        """The selected features, best first."""
        raise NotImplementedError

    @property
    def labels(self) -> Mapping[Feature, FeatureLabel]:
        """Names of features; empty in a run without a labeler."""
        raise NotImplementedError

    @property
    def failures(self) -> list[Failure]:
        """What was left out."""
        raise NotImplementedError

    def features(self, space: FeatureSpace | str) -> FeatureBatch:
        """All features of a space as one batch: `.item_ids` and CSR `.matrix`."""
        raise NotImplementedError

    def top_images(self, feature: Feature | str, k: int | None = None) -> list[TopImage]:
        """The images on which a feature fires most, strongest first."""
        raise NotImplementedError

    def heatmap(self, feature: Feature | str, item_id: str) -> Float32Array:
        """Where on an image a feature fires: float32 `[rows, cols]`."""
        raise NotImplementedError

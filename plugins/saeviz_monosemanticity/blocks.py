"""Sums over all images, of all features at once or of a block of them, to the last bit the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from saeviz import ScoreColumn, ScoreFact, ScoreInput
from saeviz_monosemanticity.embeddings import UnitVectors
from saeviz_monosemanticity.similarity import StreamedSums, WeightedSums
from saeviz_monosemanticity.weights import weights_of_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, FloatArray, IntArray

    Arrays = Mapping[str, NDArray[Any]]

FEWEST_IMAGES = 3
"""Of two images the min-max scaling leaves one without weight."""


class TopImages(NamedTuple):
    """Of each feature row numbers and weights, `[n_features, k]`."""

    rows: IntArray
    weights: FloatArray


class OfFeatures(NamedTuple):
    """The sums of features, on how many images each fires, and which images they are of unless they are of all."""

    sums: WeightedSums
    n_active: IntArray
    top: TopImages | None = None


def sums_over_all(data: ScoreInput, unit: UnitVectors) -> OfFeatures:
    """Over all images, which have these vectors; nothing is summed up if these are too few."""
    streamed = StreamedSums(data.space.n_features, unit.dim)
    for images, weights in weights_of_all(data) if data.n_items >= FEWEST_IMAGES else ():
        streamed.add(weights, unit[images])
    return OfFeatures(streamed.sums(), data.features.count_active())


class SumsInBlocks:
    """The sums of a block at a time (`saeviz.BlockScores`).

    A sample is the images that have one of the embeddings, with their vectors; `results` makes of the sums by each
    embedding what the scorer yields.
    """

    def __init__(
        self,
        samples: Mapping[str, Callable[[], tuple[ScoreInput, UnitVectors]]],
        results: Callable[[Callable[[str], OfFeatures]], Iterable[ScoreColumn | ScoreFact]],
    ) -> None:
        self._samples = samples
        self._results = results

    def block(self, _features: slice, values: CSR) -> Arrays:
        """The sums of some features by each embedding, a piece of the embeddings at a time."""
        found: dict[str, NDArray[Any]] = {}
        for which, sample in self._samples.items():
            data, unit = sample()
            own = values if unit.is_usable.all() else values[:, unit.is_usable]
            sums, n_active, _ = sums_over_all(data.with_features(own), unit)
            found |= {f"{which}.{name}": array for name, array in {**sums._asdict(), "n_active": n_active}.items()}
        return found

    def finish(self, blocks: Iterable[Arrays]) -> Iterable[ScoreColumn | ScoreFact]:
        """What follows from the sums of all features."""
        parts = list(blocks)
        joined = {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}

        def of_features(which: str) -> OfFeatures:
            sums = WeightedSums(*(joined[f"{which}.{name}"] for name in WeightedSums._fields))
            return OfFeatures(sums, joined[f"{which}.n_active"])

        return self._results(of_features)

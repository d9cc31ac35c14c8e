"""Statistics and top images of the features of a space, computed from parts of the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.values.statistics import FeatureStatistics, counted, merged_counts, statistics_of
from saeviz.values.topk import TopImages, merged_top_images, stream_top_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.values.score_input import ScoreInput

    State = Mapping[str, NDArray[Any]]


class FeatureSummary(NamedTuple):
    """What a `FeatureStream` can tell of all images without reading them once more (`FeatureStream.knowing`)."""

    statistics: FeatureStatistics
    top: TopImages


class Summarizing:
    """Merges as scores do (`saeviz.MergingScores`); `k` is the number of top images."""

    def __init__(self, k: int) -> None:
        self._k = k

    def partial(self, part: ScoreInput) -> State:
        """Counts, sums, extremes and top images of a part."""
        first_row = part.rows.start if part.rows else 0
        top = stream_top_images(part.features.batches(), part.space.n_features, self._k, first_row=first_row)
        return {**counted(part.matrix()), "rows": top.rows, "values": top.values}

    def merge(self, earlier: State, later: State) -> State:
        """Those of the images of both."""
        top = merged_top_images(_top_of(earlier), _top_of(later))
        return {**merged_counts(earlier, later), "rows": top.rows, "values": top.values}

    def finish(self, state: State) -> FeatureSummary:
        """Of the images that were merged."""
        return FeatureSummary(statistics_of(state), _top_of(state))


def _top_of(state: State) -> TopImages:
    return TopImages(state["rows"], state["values"])

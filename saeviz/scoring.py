"""What a scorer is given: the features of one space as a stream, and what belongs to the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from saeviz.topk import TopImages, stream_top_images
from saeviz.types import FeatureBatch, FeatureSpace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeviz.types import CSR, Float32Array, FloatArray


class FeatureStream:
    """The features of one space over all images of a run, in a fixed order of images.

    `batches()` streams them in bounded memory and can be called again and again; `matrix()` loads
    them all, for convenience.
    """

    def __init__(self, space: FeatureSpace, read: Callable[[], Iterator[FeatureBatch]]) -> None:
        self.space = space
        self._read = read
        self._top: TopImages | None = None

    def batches(self) -> Iterator[FeatureBatch]:
        """The batches, one after the other; together their rows are the images in order."""
        return self._read()

    def matrix(self) -> CSR:
        """Everything as one CSR float32 `[n_items, n_features]`. Memory grows with the data."""
        import numpy as np
        from scipy.sparse import csr_array, vstack

        parts = [batch.matrix for batch in self.batches()]
        if not parts:
            return csr_array(np.zeros((0, self.space.n_features), dtype=np.float32))
        return csr_array(vstack(parts, format="csr"))

    def count_active(self) -> NDArray[np.int64]:
        """On how many images each feature is above zero, `[n_features]`."""
        return self.statistics.n_active

    @cached_property
    def statistics(self) -> FeatureStatistics:
        """Active images, maximum, mean of every feature, from one pass."""
        return _statistics(self)

    def top_images(self, k: int) -> TopImages:
        """The `k` most activating images of every feature; see `TopImages`."""
        if self._top is None or self._top.k < k:
            self._top = stream_top_images(self.batches(), self.space.n_features, k)
        return self._top.first(k)


@dataclass(frozen=True)
class FeatureStatistics:
    """Per feature, `[n_features]` each, over all images; a feature that never fires has max and mean 0."""

    n_active: NDArray[np.int64]
    maximum: FloatArray
    minimum: FloatArray
    mean: FloatArray


def _statistics(stream: FeatureStream) -> FeatureStatistics:
    import numpy as np

    n_features = stream.space.n_features
    n_active = np.zeros(n_features, dtype=np.int64)
    n_stored = np.zeros(n_features, dtype=np.int64)
    total = np.zeros(n_features)
    maximum = np.full(n_features, -np.inf)
    minimum = np.full(n_features, np.inf)
    n_items = 0
    for batch in stream.batches():
        columns, values = batch.matrix.indices, batch.matrix.data
        n_items += len(batch)
        n_stored += np.bincount(columns, minlength=n_features)
        n_active += np.bincount(columns[values > 0], minlength=n_features)
        total += np.bincount(columns, weights=values, minlength=n_features)
        np.maximum.at(maximum, columns, values)
        np.minimum.at(minimum, columns, values)
    has_zero = n_stored < n_items
    maximum[has_zero] = np.maximum(maximum[has_zero], 0.0)
    minimum[has_zero] = np.minimum(minimum[has_zero], 0.0)
    if not n_items:
        maximum, minimum = np.zeros(n_features), np.zeros(n_features)
    return FeatureStatistics(n_active, maximum, minimum, total / max(n_items, 1))


@dataclass(frozen=True)
class ScoreInput:
    """One space of a run, as a scorer sees it.

    `item_ids` are the images in row order. `embeddings` is float32 `[n_items, dim]`, a row of NaN where
    an image has none, or None in a run without embeddings. `ratings` maps a rating's name to float64
    `[n_items]`, NaN where an image is not rated.
    """

    space: FeatureSpace
    item_ids: tuple[str, ...]
    features: FeatureStream
    embeddings: Float32Array | None
    ratings: Mapping[str, FloatArray]

    @property
    def n_items(self) -> int:
        """How many images."""
        return len(self.item_ids)

"""The most activating images of every feature, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeviz.typing import Float32Array, IntArray
    from saeviz.values.features import FeatureBatch

    Entries = tuple[IntArray, IntArray, Float32Array]  # columns, rows, values


@dataclass(frozen=True)
class TopImages:
    """The most activating images per feature: `rows` int64 and `values` float32, both `[n_features, k]`.

    Strongest first; of equal values, the earlier image comes first. `rows` are row numbers in the stream. If a feature
    is active on fewer than k images, the remaining entries are row -1 and value 0.
    """

    rows: IntArray
    values: Float32Array

    @property
    def k(self) -> int:
        """The maximum number of images per feature."""
        return int(self.rows.shape[1])

    def first(self, k: int) -> TopImages:
        """Only the first `k` images per feature."""
        return self if k == self.k else TopImages(self.rows[:, :k], self.values[:, :k])


def stream_top_images(batches: Iterable[FeatureBatch], n_features: int, k: int, *, first_row: int = 0) -> TopImages:
    """The `k` images with the largest positive activation, per feature; the first of them is of row `first_row`.

    Keeps k candidates per feature. An entry not above a feature's k-th best is dropped at once; the others are buffered
    and merged when there are about as many as candidates.
    """
    import numpy as np

    best = _empty(n_features, k)
    floor = np.zeros(n_features, np.float32)
    waiting: list[Entries] = []
    n_waiting = 0
    for batch in batches:
        matrix = batch.matrix
        places = np.flatnonzero(matrix.data > floor[matrix.indices])
        rows = first_row + np.searchsorted(matrix.indptr, places, side="right") - 1
        waiting.append((matrix.indices[places], rows, matrix.data[places]))
        first_row += len(batch)
        n_waiting += places.size
        if n_waiting > n_features * k:
            best = _merge(best, waiting)
            floor = best.values[:, -1].copy()
            waiting, n_waiting = [], 0
    return _merge(best, waiting) if waiting else best


def merged_top_images(one: TopImages, other: TopImages) -> TopImages:
    """The `k` most activating of the images of both, which have none in common."""
    import numpy as np

    rows, values = np.hstack([one.rows, other.rows]), np.hstack([one.values, other.values])
    order = np.lexsort((rows, -values), axis=1)[:, : one.k]
    return TopImages(np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1))


def _empty(n_features: int, k: int) -> TopImages:
    import numpy as np

    return TopImages(np.full((n_features, k), -1, np.int64), np.zeros((n_features, k), np.float32))


def _merge(best: TopImages, waiting: list[Entries]) -> TopImages:
    """Merge, keeping the best k. Entries are in row order, which a stable sort preserves among equal values."""
    import numpy as np

    n_features, k = best.rows.shape
    kept = best.rows >= 0
    columns = np.concatenate([np.nonzero(kept)[0], *(part[0] for part in waiting)])
    rows = np.concatenate([best.rows[kept], *(part[1] for part in waiting)])
    values = np.concatenate([best.values[kept], *(part[2] for part in waiting)])
    order = np.argsort(_by_column_then_largest(columns, values), kind="stable")
    columns = columns[order]
    rank = np.arange(columns.size) - np.searchsorted(columns, np.arange(n_features))[columns]
    leading = rank < k
    columns, rank, order = columns[leading], rank[leading], order[leading]
    merged = _empty(n_features, k)
    merged.rows[columns, rank] = rows[order]
    merged.values[columns, rank] = values[order]
    return merged


def _by_column_then_largest(columns: IntArray, values: Float32Array) -> NDArray[np.uint64]:
    """One sort key per entry: positive floats sort like their bits, which are inverted here."""
    import numpy as np

    bits = values.astype(np.float32, copy=False).view(np.uint32)
    return (columns.astype(np.uint64) << np.uint64(32)) | ~bits

"""The most activating images of every feature, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from saeviz.types import FeatureBatch, Float32Array


@dataclass(frozen=True)
class TopImages:
    """`rows` int64 and `values` float32, both `[n_features, k]`, strongest first.

    `rows` are row numbers of the stream; where a feature is active on fewer than k images the rest is
    row -1 and value 0. Ties go to the earlier image.
    """

    rows: NDArray[np.int64]
    values: Float32Array

    @property
    def k(self) -> int:
        """How many images per feature at most."""
        return int(self.rows.shape[1])

    def first(self, k: int) -> TopImages:
        """The same with fewer images per feature."""
        return self if k == self.k else TopImages(self.rows[:, :k], self.values[:, :k])


def stream_top_images(batches: Iterable[FeatureBatch], n_features: int, k: int) -> TopImages:
    """The `k` images with the largest positive activation, per feature.

    Keeps k candidates per feature; an entry below a feature's k-th best is dropped at once, the others
    are gathered and merged when they are about as many as the candidates themselves.
    """
    import numpy as np

    best = TopImages(np.full((n_features, k), -1, np.int64), np.zeros((n_features, k), np.float32))
    waiting: list[tuple[NDArray[np.int64], NDArray[np.int64], Float32Array]] = []
    n_waiting, first_row = 0, 0
    for batch in batches:
        matrix = batch.matrix
        rows = np.repeat(np.arange(first_row, first_row + len(batch)), np.diff(matrix.indptr))
        first_row += len(batch)
        promising = matrix.data > best.values[matrix.indices, k - 1]
        waiting.append((matrix.indices[promising].astype(np.int64), rows[promising], matrix.data[promising]))
        n_waiting += int(promising.sum())
        if n_waiting > n_features * k:
            best, waiting, n_waiting = _merge(best, waiting), [], 0
    return _merge(best, waiting) if waiting else best


def _merge(best: TopImages, waiting: list[tuple[NDArray[np.int64], NDArray[np.int64], Float32Array]]) -> TopImages:
    import numpy as np

    n_features, k = best.rows.shape
    kept = best.rows >= 0
    columns = np.concatenate([np.nonzero(kept)[0], *(part[0] for part in waiting)])
    rows = np.concatenate([best.rows[kept], *(part[1] for part in waiting)])
    values = np.concatenate([best.values[kept], *(part[2] for part in waiting)])
    order = np.lexsort((rows, -values, columns))
    columns, rows, values = columns[order], rows[order], values[order]
    starts = np.searchsorted(columns, np.arange(n_features))
    rank = np.arange(columns.size) - starts[columns]
    within = rank < k
    merged = TopImages(np.full((n_features, k), -1, np.int64), np.zeros((n_features, k), np.float32))
    merged.rows[columns[within], rank[within]] = rows[within]
    merged.values[columns[within], rank[within]] = values[within]
    return merged

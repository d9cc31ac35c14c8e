"""Sketch of a space: 128 numbers per feature that estimate correlations, computed in one pass.

Every image gets 128 random signs. A feature's centred activations, multiplied by the signs of their images and
added up, are a vector whose cosine with that of another feature estimates the correlation of the two (Achlioptas 2003,
Database-friendly random projections). The signs come from the item id and the seed: the order of the
images and their batches change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import ScoreColumn, ScoreInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import Float32Array, FloatArray, IntArray

    State = Mapping[str, NDArray[Any]]

WIDTH = 128
FEATURES_AT_ONCE = 1024
"""Features per step of a sparse product: their sums stay in the processor's cache."""
NEGLIGIBLE = 1e-8
"""Share of the sum of squares below which rounding would decide a variance."""


@dataclass(frozen=True)
class Sketch:
    """The features of a space that can be compared: those that fire often enough and are not constant.

    `features` are their numbers, int64 `[m]`; `unit` float32 `[m, 128]` has rows of length 1; `n_active`, `mean` and
    `variation`, the sum of squared deviations from the mean, are `[m]`.
    """

    data: ScoreInput
    features: IntArray
    unit: Float32Array
    n_active: IntArray
    mean: FloatArray
    variation: FloatArray


class SketchInParts:
    """Merges the sums of a sketch (`saeviz.MergingScores`), whose size does not depend on the number of images.

    `finish` yields no score, because clusters span spaces: it gives the sketch to `take`.
    """

    def __init__(self, data: ScoreInput, *, min_active: int, seed: int, take: Callable[[Sketch], None]) -> None:
        self._data, self._min_active, self._seed, self._take = data, min_active, seed, take

    def partial(self, part: ScoreInput) -> State:
        """The sums of a part: of activations times signs, of signs, and of squared activations."""
        matrix = part.matrix()
        n_features = matrix.shape[1]
        signs = _signs(part.item_ids[part.rows or slice(None)], self._seed)
        vectors = np.empty((n_features, WIDTH), dtype=np.float32)
        by_feature = matrix.T.tocsr()
        for start in range(0, n_features, FEATURES_AT_ONCE):
            some = slice(start, start + FEATURES_AT_ONCE)
            vectors[some] = by_feature[some] @ signs
        squares = np.bincount(matrix.indices, np.square(matrix.data, dtype=np.float64), n_features)
        return {"vectors": vectors, "signs": signs.sum(axis=0), "squares": squares.astype(float)}

    def merge(self, earlier: State, later: State) -> State:
        """The sums of both."""
        return {name: earlier[name] + later[name] for name in earlier}

    def finish(self, state: State) -> Iterable[ScoreColumn]:
        """Hand the sketch over."""
        statistics, squares = self._data.features.statistics, state["squares"]
        variation = squares - self._data.n_items * statistics.mean**2
        is_common = statistics.n_active >= self._min_active
        features = np.flatnonzero(is_common & (variation > NEGLIGIBLE * squares))
        n_active, mean = statistics.n_active[features], statistics.mean[features]
        centred = state["vectors"][features]
        centred -= np.outer(mean.astype(np.float32), state["signs"])
        self._take(Sketch(self._data, features, unit_rows(centred), n_active, mean, variation[features]))
        return ()


def unit_rows(vectors: Float32Array) -> Float32Array:
    """The rows at length 1, in place, however large or small; a row of zeros stays as it is."""
    largest = np.maximum(vectors.max(axis=1, initial=0), -vectors.min(axis=1, initial=0))
    vectors /= np.where(largest > 0, largest, 1)[:, None]
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    vectors /= np.where(length > 0, length, 1)[:, None]
    return vectors


def _signs(item_ids: Sequence[str], seed: int) -> Float32Array:
    """+1 and -1, float32 `[n, 128]`."""
    digests = [blake2b(f"{seed} {item_id}".encode(), digest_size=WIDTH // 8).digest() for item_id in item_ids]
    bits = np.unpackbits(np.frombuffer(b"".join(digests), dtype=np.uint8)).reshape(-1, WIDTH)
    return 1 - 2 * bits.astype(np.float32)

"""What the largest correlation of a family would be if ratings had nothing to do with features."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz_correlation.inference import p_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, Float32Array, FloatArray
    from saeviz_correlation.targets import Targets

COLUMNS = 64  # permuted ratings per product: 1.3 MB at 5,000 images, which stays in the cache
WORKERS = min(4, cpu_count() or 1)
LARGE_MEAN = 10.0  # against the spread; a feature silent on a share f of the images stays below sqrt((1 - f) / f)
ROUNDING = 1e-5  # relative, of float32 sums: a permutation that ties with what was observed has reached it


class Permutations:
    """The same `count` permutations of the images for every rating and space, so that their dependence is kept.

    They follow from the seed and the ids, not from the order of the images.
    """

    def __init__(self, item_ids: Sequence[str], count: int, seed: int) -> None:
        self.count = count
        self._seed = seed
        self._order = np.array(sorted(range(len(item_ids)), key=item_ids.__getitem__), dtype=np.intp)

    def permuted(self, targets: Targets, draws: range) -> Float32Array:
        """The targets after each of the draws, side by side: `[targets.n, len(draws) * n_targets]`.

        Only images that have them exchange them. What is held constant is taken out again afterwards (Freedman
        and Lane 1983), so each is as long and as free of it as before.
        """
        basis = targets.basis[targets.rated]
        results = []
        for draw in draws:
            values = targets.values[self._sources(draw, targets.rated)]
            if basis.shape[1]:
                values = values - basis @ (basis.T @ values)
                length = np.linalg.norm(values, axis=0)
                values /= np.where(length > 0, length, 1.0)
            results.append(values.astype(np.float32))
        return np.hstack(results)

    def _sources(self, draw: int, rated: NDArray[np.bool_]) -> NDArray[np.intp]:
        """For each rated image the rated one whose ratings it gets.

        It is the next rated one on the cycle of a permutation of all images: uniform, and nearly the same for
        ratings that nearly the same images have.
        """
        shuffled = np.random.default_rng([self._seed, draw]).permutation(len(self._order))
        following = np.empty_like(self._order)
        following[self._order] = self._order[shuffled]
        sources = following[rated]
        hop = np.where(rated, np.arange(len(rated)), following)
        while not rated[sources].all():
            sources, hop = hop[sources], hop[hop]
        return sources


class LargestCorrelations:
    """For each permutation and each of the targets, the largest |r| of any feature, over all blocks given."""

    def __init__(self, targets: Targets, permutations: Permutations) -> None:
        self.targets = targets
        self._permutations = permutations
        self._largest = np.zeros((permutations.count, targets.values.shape[1]))

    def add(self, block: CSR, spread: FloatArray) -> None:
        """Take in features, CSR `[n_features, n_items]`; those whose `spread` is NaN are left out."""
        members = np.isfinite(spread)
        if not members.any():
            return
        rated = self.targets.rated
        block = block[members] if rated.all() else block[members][:, rated]
        parts = _unit_rows(block, spread[members])
        n_draws = max(1, COLUMNS // self._largest.shape[1])
        starts = range(0, self._permutations.count, n_draws)

        def largest(start: int) -> None:
            rows = slice(start, start + n_draws)
            draws = range(start, min(start + n_draws, self._permutations.count))
            permuted = self._permutations.permuted(self.targets, draws)
            for part in parts:
                r = part @ permuted
                found = np.maximum(r.max(axis=0), -r.min(axis=0)).reshape(len(draws), -1)
                np.maximum(self._largest[rows], found, out=self._largest[rows])

        with ThreadPoolExecutor(WORKERS) as pool:  # the products let other threads work
            list(pool.map(largest, starts))

    def smallest_p(self) -> FloatArray:
        """The p of the largest |r|, `[n_permutations, n_targets]`; on this scale ratings with different n compare."""
        reached = np.minimum(self._largest * (1 + ROUNDING), 1.0)
        return p_values(reached, self.targets.df)


def _unit_rows(block: CSR, spread: FloatArray) -> list[Any]:
    """The features, float32 and of length 1, as a sparse and perhaps a dense matrix.

    A large mean would wear float32 away. A feature has one only if it fires on nearly every image, so it can be
    centred and kept dense.
    """
    mean = np.asarray(block @ np.ones(block.shape[1])) / block.shape[1]
    high = np.abs(mean) * np.sqrt(block.shape[1]) > LARGE_MEAN * spread
    parts = [_divided(block if not high.any() else block[~high], spread[~high])]
    if high.any():
        dense = block[high].toarray()
        dense -= mean[high, None].astype(np.float32)
        parts.append(np.divide(dense, spread[high, None], out=dense, dtype=np.float64, casting="unsafe"))
    return [part for part in parts if part.shape[0]]


def _divided(block: CSR, spread: FloatArray) -> CSR:
    from scipy.sparse import csr_array

    data = np.empty(block.nnz, dtype=np.float32)
    np.divide(block.data, np.repeat(spread, np.diff(block.indptr)), out=data, dtype=np.float64, casting="unsafe")
    return csr_array((data, block.indices, block.indptr), shape=block.shape)

"""The largest correlation of a family under the null hypothesis, from permuted ratings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from os import cpu_count
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz_correlation.inference import p_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, Float32Array, FloatArray, Mask
    from saeviz_correlation.targets import Targets

COLUMNS = 64  # permuted ratings per product
IMAGES = 6000  # at most this many at once, so that the permuted ratings, 1.5 MB, stay in the cache
WORKERS = min(4, cpu_count() or 1)
LARGE_MEAN = 10.0  # against the spread; a feature silent on a share f of the images stays below sqrt((1 - f) / f)
ROUNDING = 1e-5  # relative, of float32 sums: a permutation within this of the observed value counts as reaching it


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

        Only images that have a rating exchange it. Controls are regressed out again afterwards (Freedman and Lane
        1983), so that each permuted target has length 1 and is uncorrelated with them, as before.
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

    def _sources(self, draw: int, rated: Mask) -> NDArray[np.intp]:
        """For each rated image, the rated image whose ratings it receives.

        It is the next rated image on the cycle of a permutation of all images. This is uniform, and nearly the same
        for two ratings that almost the same images have.
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
    """For each permutation and target, the largest |r| of any feature in all blocks added."""

    def __init__(self, targets: Targets, permutations: Permutations) -> None:
        self.targets = targets
        self._permutations = permutations
        self._largest = np.zeros((permutations.count, targets.values.shape[1]))

    def add(self, block: CSR, spread: FloatArray) -> None:
        """Add features, CSR `[n_features, n_items]`; those whose `spread` is NaN are left out."""
        if not self.targets.rated.all():
            block = block[:, self.targets.rated]
        if not np.isfinite(spread).any():
            return
        parts = _unit_rows(block, spread)
        n_draws = max(1, COLUMNS // self._largest.shape[1])
        starts = range(0, self._permutations.count, n_draws)

        def largest(start: int) -> None:
            rows = slice(start, start + n_draws)
            draws = range(start, min(start + n_draws, self._permutations.count))
            permuted = self._permutations.permuted(self.targets, draws)
            for part in parts:
                r = sum(of_images @ permuted[images] for images, of_images in part)
                found = np.maximum(r.max(axis=0), -r.min(axis=0)).reshape(len(draws), -1)
                np.maximum(self._largest[rows], found, out=self._largest[rows])

        with ThreadPoolExecutor(WORKERS) as pool:  # the products let other threads work
            list(pool.map(largest, starts))

    def smallest_p(self, p_of: Callable[[FloatArray, int], FloatArray] = p_values) -> FloatArray:
        """The p of the largest |r|, `[n_permutations, n_targets]`; comparable between ratings of different n."""
        reached = np.minimum(self._largest * (1 + ROUNDING), 1.0)
        return p_of(reached, self.targets.df)


def _unit_rows(block: CSR, spread: FloatArray) -> list[list[tuple[slice, Any]]]:
    """The features, float32 and of length 1, as a sparse and perhaps a dense matrix, each by ranges of images.

    A large mean would cost float32 its precision. Only features that fire on nearly every image have one, so these are
    centred and kept dense.
    """
    n_images = block.shape[1]
    mean = _sums(block) / n_images
    high = np.abs(mean) * np.sqrt(n_images) > LARGE_MEAN * spread
    low = np.isfinite(spread) & ~high
    cuts = np.linspace(0, n_images, -(-n_images // IMAGES) + 1).astype(int).tolist()
    ranges = [slice(start, stop) for start, stop in pairwise(cuts)]
    parts = []
    if low.any():
        parts.append([(images, _divided(block[:, images][low], spread[low])) for images in ranges])
    if high.any():
        parts.append([(images, _centred(block[:, images][high], mean[high], spread[high])) for images in ranges])
    return parts


def _sums(block: CSR) -> FloatArray:
    """The sum of each row, in float64, since it may exceed the range of float32."""
    sums = np.zeros(block.shape[0])
    filled = np.diff(block.indptr) > 0
    if filled.any():
        sums[filled] = np.add.reduceat(block.data, block.indptr[:-1][filled], dtype=np.float64)
    return sums


def _divided(block: CSR, spread: FloatArray) -> CSR:
    by = np.repeat(spread, np.diff(block.indptr))
    np.divide(block.data, by, out=block.data, dtype=np.float64, casting="unsafe")
    return block


def _centred(block: CSR, mean: FloatArray, spread: FloatArray) -> Float32Array:
    dense: Float32Array = block.toarray() - mean.astype(np.float32)[:, None]
    return np.divide(dense, spread[:, None], out=dense, dtype=np.float64, casting="unsafe")

"""The largest correlation of a family under the null hypothesis, from permuted ratings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from itertools import permutations as arrangements
from math import factorial
from os import cpu_count
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from saeviz import Texts
from saeviz_correlation.columns import products
from saeviz_correlation.inference import p_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import CSR, Float32Array, FloatArray, IntArray, Mask
    from saeviz_correlation.exchange import Exchange
    from saeviz_correlation.targets import Targets

COLUMNS = 64  # permuted ratings per product
IMAGES = 6000  # at most this many at once, so that the permuted ratings, 1.5 MB, stay in the cache
WORKERS = min(4, cpu_count() or 1)
MOST_ARRANGED = 9  # blocks, of which each arrangement may be taken
LARGE_MEAN = 10.0  # against the spread; a feature silent on a share f of the images stays below sqrt((1 - f) / f)
ROUNDING = 1e-5  # relative, of float32 sums: a permutation within this of the observed value counts as reaching it


class Permutations:
    """The same `count` permutations of the images for every rating and space, so that their dependence is kept.

    They follow from the seed and the ids, not from the order of the images. With `exchange`, images are permuted within
    its sets, or its blocks as a whole; if there are at most `count` other ways to arrange those of the `exact` images,
    each of them is taken once.
    """

    def __init__(
        self,
        item_ids: Sequence[str],
        count: int,
        seed: int,
        exchange: Exchange | None = None,
        *,
        exact: Mask | None = None,
    ) -> None:
        self.count = count
        self._seed = seed
        rank = np.empty(len(item_ids), dtype=np.intp)
        rank[Texts.of(item_ids).order()] = np.arange(len(item_ids))
        sets = exchange.sets if exchange is not None else None
        self._sets = None if sets is None else _by_first(sets, rank)
        self._order = np.argsort(rank) if self._sets is None else np.lexsort((rank, self._sets))
        self._blocks: NDArray[np.intp] | None = None
        self._arrangements: list[NDArray[np.intp]] | None = None
        if exchange is not None and exchange.blocks is not None:
            self._blocks = _by_first(exchange.blocks, rank)
            if exact is not None:
                self._take_each(np.unique(self._blocks[exact]), int(self._blocks.max(initial=-1)) + 1)

    def _take_each(self, arranged: NDArray[np.intp], n_blocks: int) -> None:
        """Each other way to arrange some blocks, if these are few."""
        if arranged.size > MOST_ARRANGED or factorial(arranged.size) - 1 > self.count:
            return
        self._arrangements = []
        for order in islice(arrangements(arranged.tolist()), 1, None):
            every = np.arange(n_blocks)
            every[arranged] = order
            self._arrangements.append(every)
        self.count = len(self._arrangements)

    @property
    def of_whole_groups(self) -> bool:
        """Whether blocks are permuted, not images."""
        return self._blocks is not None

    def permuted(self, targets: Targets, draws: range) -> Float32Array:
        """The targets after each of the draws, side by side: `[targets.n, len(draws) * n_targets]`.

        Only images that have a rating exchange it. Controls are regressed out again afterwards (Freedman and Lane
        1983), so that each permuted target has length 1 and is uncorrelated with them, as before. So is the mean where
        blocks differ in size, which changes ranks, too.
        """
        from scipy.stats import rankdata

        basis = targets.basis[targets.rated]
        results = []
        for draw in draws:
            values = targets.values[self._sources(draw, targets.rated)]
            if self._blocks is not None:
                values = rankdata(values, axis=0) if targets.ranked else values
                values = values - values.mean(axis=0)
            if basis.shape[1]:
                values = values - basis @ (basis.T @ values)
            if basis.shape[1] or self._blocks is not None:
                length = np.linalg.norm(values, axis=0)
                values /= np.where(length > 0, length, 1.0)
            results.append(values.astype(np.float32))
        return np.hstack(results)

    def _sources(self, draw: int, rated: Mask) -> NDArray[np.intp]:
        """For each rated image, the rated image whose ratings it receives; of a block, its first rated one."""
        if self._blocks is None:
            shuffled = self._shuffled(draw)
            following = np.empty_like(self._order)
            following[self._order] = self._order[shuffled]
            return _next_rated(following, rated)
        blocks = self._blocks[rated]
        n_blocks = int(self._blocks.max()) + 1
        first = np.full(n_blocks, -1)
        first[blocks[::-1]] = np.flatnonzero(rated)[::-1]
        has = first >= 0
        source = np.full(n_blocks, -1)
        source[has] = _next_rated(self._arranged(draw, n_blocks), has)
        return np.asarray(first[source[blocks]])

    def _shuffled(self, draw: int) -> NDArray[np.intp]:
        generator = np.random.default_rng([self._seed, draw])
        if self._sets is None:
            return generator.permutation(len(self._order))
        return np.lexsort((generator.random(len(self._order)), self._sets[self._order]))

    def _arranged(self, draw: int, n_blocks: int) -> NDArray[np.intp]:
        if self._arrangements is not None:
            return self._arrangements[draw]
        return np.random.default_rng([self._seed, draw]).permutation(n_blocks)


def _next_rated(following: NDArray[np.intp], rated: Mask) -> NDArray[np.intp]:
    """For each rated image, the next rated one on the cycle of a permutation of all images.

    This is uniform, and nearly the same for two ratings that almost the same images have.
    """
    sources = following[rated]
    hop = np.where(rated, np.arange(len(rated)), following)
    while not rated[sources].all():
        sources, hop = hop[sources], hop[hop]
    return sources


def _by_first(codes: IntArray, rank: NDArray[np.intp]) -> NDArray[np.intp]:
    """Numbers of blocks in the order of their first images by rank."""
    order = np.argsort(rank)
    _, first, of_row = np.unique(codes[order], return_index=True, return_inverse=True)
    place = np.empty(first.size, dtype=np.intp)
    place[np.argsort(first)] = np.arange(first.size)
    numbers = np.empty(codes.size, dtype=np.intp)
    numbers[order] = place[of_row]
    return numbers


class LargestCorrelations:
    """For each permutation and target, the largest |r| of any feature in all blocks added; counts of each feature."""

    def __init__(self, targets: Targets, permutations: Permutations) -> None:
        self.targets = targets
        self._permutations = permutations
        self._largest = np.zeros((permutations.count, targets.values.shape[1]))
        self._reached: list[IntArray] = []

    def anew(self) -> LargestCorrelations:
        """The same permutations, of no block yet."""
        return LargestCorrelations(self.targets, self._permutations)

    @property
    def state(self) -> Mapping[str, NDArray[Any]]:
        """What was found of the blocks, for `add_state`."""
        return {"largest": self._largest, "reached": self._counts}

    def add_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Add what another has found of further features."""
        np.maximum(self._largest, state["largest"], out=self._largest)
        self._reached.append(state["reached"])

    @property
    def of_whole_groups(self) -> bool:
        """Whether whole groups exchange their ratings."""
        return self._permutations.of_whole_groups

    def add(
        self, block: CSR, spread: FloatArray, observed: FloatArray | None = None, tested: Mask | None = None
    ) -> None:
        """Add features, CSR `[n_features, n_items]`; those whose `spread` is NaN are left out.

        `observed` `[n_features, n_targets]` is their r, if each is to be counted. `tested`, of the same shape, says
        which are members of the family, if not all are.
        """
        if not self.targets.rated.all():
            block = block[:, self.targets.rated]
        reached = np.where(np.isfinite(spread)[:, None], 0, np.full((1, self._largest.shape[1]), -1))
        self._reached.append(reached)
        if not np.isfinite(spread).any():
            return
        parts = _unit_rows(block, spread)
        n_draws = max(1, COLUMNS // self._largest.shape[1])
        starts = range(0, self._permutations.count, n_draws)
        at_least = None if observed is None else np.abs(observed) / (1 + ROUNDING) - ROUNDING**2
        lock = Lock()

        def largest(start: int) -> None:
            rows = slice(start, start + n_draws)
            draws = range(start, min(start + n_draws, self._permutations.count))
            permuted = self._permutations.permuted(self.targets, draws)
            for features, part in parts:
                r = sum(_with_permuted(of_images, permuted[images]) for images, of_images in part)
                if tested is not None:
                    r *= np.tile(tested[features], len(draws))
                found = np.maximum(r.max(axis=0), -r.min(axis=0)).reshape(len(draws), -1)
                np.maximum(self._largest[rows], found, out=self._largest[rows])
                if at_least is not None:
                    of_draws = np.abs(r).reshape(len(r), len(draws), -1) >= at_least[features][:, None, :]
                    with lock:
                        reached[features] += of_draws.sum(axis=1)

        with ThreadPoolExecutor(WORKERS) as pool:  # the products let other threads work
            list(pool.map(largest, starts))

    def p_of_each(self) -> FloatArray:
        """The p of every feature by permutation, `[n_features, n_targets]`: the observed order counts as one more.

        NaN for features that were left out.
        """
        reached = self._counts
        return np.where(reached < 0, np.nan, (1 + reached) / (1 + self._permutations.count))

    @property
    def _counts(self) -> IntArray:
        return np.concatenate(self._reached or [np.zeros((0, self._largest.shape[1]), dtype=np.int64)])

    def smallest_p(self, p_of: Callable[[FloatArray, int], FloatArray] = p_values) -> FloatArray:
        """The p of the largest |r|, `[n_permutations, n_targets]`; comparable between ratings of different n."""
        reached = np.minimum(self._largest * (1 + ROUNDING), 1.0)
        return p_of(reached, self.targets.df)


def _with_permuted(of_images: Any, permuted: Float32Array) -> Any:
    """Of features, sparse or dense, with permuted ratings."""
    return products(of_images, permuted) if isinstance(of_images, np.ndarray) else of_images @ permuted


def _unit_rows(block: CSR, spread: FloatArray) -> list[tuple[NDArray[np.intp], list[tuple[slice, Any]]]]:
    """The features, float32 and of length 1, as a sparse and perhaps a dense matrix, each by ranges of images.

    With each come the rows of its features.

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
        unit = [(images, _divided(block[:, images][low], spread[low])) for images in ranges]
        parts.append((np.flatnonzero(low), unit))
    if high.any():
        centred = [(images, _centred(block[:, images][high], mean[high], spread[high])) for images in ranges]
        parts.append((np.flatnonzero(high), centred))
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

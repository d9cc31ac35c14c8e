"""Features that fire together: Pearson's correlation of their activations over the images, of any two spaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import atanh, sqrt, tanh
from typing import TYPE_CHECKING

import numpy as np

from saeviz import ScoreInput
from saeviz_redundancy.pairs import Pairs, similar_rows
from saeviz_redundancy.sketch import WIDTH, Sketch

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from saeviz.typing import FloatArray, IntArray


MARGIN = 4
"""Standard errors of the sketch below the threshold down to which a pair is looked at."""
VALUES_AT_ONCE = 2**20
"""Activations that are multiplied in one step, and about as many more for the result: some 50 MB."""
TILE = 512
"""Features on a side of a tile of pairs."""
IMAGES_AT_ONCE = 2048
WORTHWHILE = 1 / 16
"""Share of a dense product's work that pair after pair may be, in which values are looked up instead."""


class CoActivation:
    """Finds candidates by the sketches and tells their correlation from the features themselves.

    `order` int64 `[n]` puts the features of all sketches, one sketch after the other, in order of activity.

    Fisher's z of a cosine of sketches is about normal around that of the correlation, with the standard error
    1 / sqrt(128 - 3). A pair that correlates exactly as much as the threshold is missed with a probability of 3 in
    100,000, one that correlates more with less.
    """

    def __init__(self, sketches: Sequence[Sketch], order: IntArray, threshold: float) -> None:
        self.threshold = threshold
        self._lowest = tanh(atanh(threshold) - MARGIN / sqrt(WIDTH - 3))
        self._sketches = sketches
        self._order = order
        self._unit = np.concatenate([sketch.unit for sketch in sketches])[order]
        self._n_active = np.concatenate([sketch.n_active for sketch in sketches])[order]
        self._mean = np.concatenate([sketch.mean for sketch in sketches])[order]
        self._variation = np.concatenate([sketch.variation for sketch in sketches])[order]

    def candidates(self, ranks: IntArray, others: IntArray) -> Pairs:
        """The pairs of one of `ranks` and an earlier one of `others` that may belong together."""
        rows, columns = similar_rows(self._unit[ranks], self._unit[others], self._lowest)
        later, earlier = ranks[rows], others[columns]
        ordered = earlier < later
        return Pairs(later[ordered], earlier[ordered])

    def similarity(self, pairs: Pairs) -> FloatArray:
        """Pearson's correlation of each pair, from one pass over the images."""
        ranks, places = np.unique(np.concatenate(pairs), return_inverse=True)
        later, earlier = np.split(places, 2)
        n_active = self._n_active[ranks]
        n_images = self._sketches[0].data.n_items
        tiles, rest = crowded_tiles(later, earlier, n_active[later] + n_active[earlier], n_images)
        products = np.zeros(later.size)
        for activations in self._stream(self._order[ranks]):
            for some in tiles:
                products[some] += _products_in_tile(activations, later[some], earlier[some])
            for some in _portions(activations, later, earlier, rest):
                products[some] += activations[later[some]].multiply(activations[earlier[some]]).sum(axis=1)
        mean, variation = self._mean[ranks], self._variation[ranks]
        covariation = products - n_images * mean[later] * mean[earlier]
        return np.asarray(covariation / np.sqrt(variation[later] * variation[earlier]))

    def _stream(self, positions: IntArray) -> Iterator[csr_array]:
        """Activations of these features of all sketches, float64 `[n_positions, some images]` at a time."""
        from scipy.sparse import csr_array, hstack

        starts = np.cumsum([0, *(sketch.features.size for sketch in self._sketches)])
        home = np.searchsorted(starts, positions, side="right") - 1
        back = np.argsort(np.argsort(home, kind="stable"))
        columns = [
            sketch.features[positions[home == number] - starts[number]] for number, sketch in enumerate(self._sketches)
        ]
        for parts in _in_step(self._sketches, columns):
            stacked = csr_array(hstack(parts, format="csr").T, dtype=np.float64)
            yield stacked[back]


def crowded_tiles(
    later: IntArray, earlier: IntArray, values: IntArray, n_images: int
) -> tuple[list[IntArray], IntArray]:
    """Pairs that a dense product tells at less cost, a tile of features by features at a time, and the rest.

    Numbers of pairs; `values` is how many activations there are to each.
    """
    n_tiles = int(later.max(initial=0)) // TILE + 1
    tile = later // TILE * n_tiles + earlier // TILE
    work = np.bincount(tile, weights=values, minlength=n_tiles**2)
    crowded = np.flatnonzero(work > WORTHWHILE * TILE * TILE * n_images)
    is_crowded = np.isin(tile, crowded)
    within = np.flatnonzero(is_crowded)
    within = within[np.argsort(tile[within], kind="stable")]
    starts = np.searchsorted(tile[within], crowded)
    return np.split(within, starts[1:]) if crowded.size else [], np.flatnonzero(~is_crowded)


def _products_in_tile(activations: csr_array, later: IntArray, earlier: IntArray) -> FloatArray:
    """The sum of products of each pair, all of one tile."""
    top, left = int(later[0]) // TILE * TILE, int(earlier[0]) // TILE * TILE
    rows, others = activations[top : top + TILE], activations[left : left + TILE]
    products = np.zeros((rows.shape[0], others.shape[0]))
    for start in range(0, activations.shape[1], IMAGES_AT_ONCE):
        images = slice(start, start + IMAGES_AT_ONCE)
        products += rows[:, images].toarray() @ others[:, images].toarray().T
    return np.asarray(products[later - top, earlier - left])


def _portions(activations: csr_array, later: IntArray, earlier: IntArray, pairs: IntArray) -> Iterator[IntArray]:
    """The pairs, as many at a time as have `VALUES_AT_ONCE` activations between them, or one."""
    values = np.diff(activations.indptr)
    ends = np.cumsum(values[later[pairs]] + values[earlier[pairs]], dtype=np.int64)
    start = 0
    while start < pairs.size:
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + VALUES_AT_ONCE, side="right")))
        yield pairs[start:stop]
        start = stop


def _in_step(sketches: Sequence[Sketch], columns: Sequence[IntArray]) -> Iterator[list[csr_array]]:
    """The same images of every space at a time, with about `VALUES_AT_ONCE` activations, whatever the chunks."""
    streams = [_only(sketch.data, wanted) for sketch, wanted in zip(sketches, columns, strict=True)]
    held = [next(stream) for stream in streams]
    start, n_items = 0, sketches[0].data.n_items
    while True:
        an_image = sum(matrix.nnz / max(matrix.shape[0], 1) for _, matrix in held)
        at_once = max(1, int(VALUES_AT_ONCE / max(an_image, 1)))
        stop = min(start + at_once, *(rows.stop for rows, _ in held))
        yield [matrix[start - rows.start : stop - rows.start] for rows, matrix in held]
        if stop == n_items:
            return
        held = [next(stream) if part[0].stop == stop else part for stream, part in zip(streams, held, strict=True)]
        start = stop


def _only(data: ScoreInput, columns: IntArray) -> Iterator[tuple[slice, csr_array]]:
    for rows, matrix in data.chunks():
        yield rows, matrix[:, columns]

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
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from saeviz_redundancy.pairs import Indices

    FloatArray = NDArray[np.float64]

MARGIN = 4
"""Standard errors of the sketch below the threshold down to which a pair is looked at."""
PAIRS_AT_ONCE = 4096


class CoActivation:
    """Finds candidates by the sketches and tells their correlation from the features themselves.

    `order` int64 `[n]` puts the features of all sketches, one sketch after the other, in order of activity.

    Fisher's z of a cosine of sketches is about normal around that of the correlation, with the standard error
    1 / sqrt(128 - 3). A pair that correlates exactly as much as the threshold is missed with a probability of 3 in
    100,000, one that correlates more with less.
    """

    def __init__(self, sketches: Sequence[Sketch], order: Indices, threshold: float) -> None:
        self.threshold = threshold
        self._lowest = tanh(atanh(threshold) - MARGIN / sqrt(WIDTH - 3))
        self._sketches = sketches
        self._order = order
        self._unit = np.concatenate([sketch.unit for sketch in sketches])[order]
        self._mean = np.concatenate([sketch.mean for sketch in sketches])[order]
        self._variation = np.concatenate([sketch.variation for sketch in sketches])[order]

    def candidates(self, ranks: Indices, others: Indices) -> Pairs:
        """The pairs of one of `ranks` and an earlier one of `others` that may belong together."""
        rows, columns = similar_rows(self._unit[ranks], self._unit[others], self._lowest)
        later, earlier = ranks[rows], others[columns]
        ordered = earlier < later
        return Pairs(later[ordered], earlier[ordered])

    def similarity(self, pairs: Pairs) -> FloatArray:
        """The correlation of each pair, from one pass over the images."""
        ranks, places = np.unique(np.concatenate(pairs), return_inverse=True)
        later, earlier = np.split(places, 2)
        products = np.zeros(later.size)
        n_images = 0
        for activations in self._stream(self._order[ranks]):
            n_images += activations.shape[1]
            for start in range(0, later.size, PAIRS_AT_ONCE):
                some = slice(start, start + PAIRS_AT_ONCE)
                products[some] += activations[later[some]].multiply(activations[earlier[some]]).sum(axis=1)
        mean, variation = self._mean[ranks], self._variation[ranks]
        covariation = products - n_images * mean[later] * mean[earlier]
        return np.asarray(covariation / np.sqrt(variation[later] * variation[earlier]))

    def _stream(self, positions: Indices) -> Iterator[csr_array]:
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


def _in_step(sketches: Sequence[Sketch], columns: Sequence[Indices]) -> Iterator[list[csr_array]]:
    """The same images of every space at a time, whatever the chunks its features come in."""
    streams = [_only(sketch.data, wanted) for sketch, wanted in zip(sketches, columns, strict=True)]
    held = [next(stream) for stream in streams]
    start, n_items = 0, sketches[0].data.n_items
    while True:
        stop = min(rows.stop for rows, _ in held)
        yield [matrix[start - rows.start : stop - rows.start] for rows, matrix in held]
        if stop == n_items:
            return
        held = [next(stream) if part[0].stop == stop else part for stream, part in zip(streams, held, strict=True)]
        start = stop


def _only(data: ScoreInput, columns: Indices) -> Iterator[tuple[slice, csr_array]]:
    for rows, matrix in data.chunks():
        yield rows, matrix[:, columns]

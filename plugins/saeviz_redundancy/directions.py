"""Features of an SAE that point the same way: the cosine of their rows of the SAE's decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from saeviz_redundancy.pairs import Pairs, join, similar_rows

if TYPE_CHECKING:
    from saeviz.typing import Float32Array, FloatArray, IntArray


ROUNDING = 1e-5
"""Rounding error of a float32 cosine; the pairs found are computed in float64."""
PAIRS_AT_ONCE = 4096


class Directions:
    """`saes` and `features` int64 `[n]`, in order of activity; `decoders` by SAE, float32 `[n_features, d_in]`."""

    def __init__(
        self, saes: IntArray, features: IntArray, decoders: Mapping[int, Float32Array], threshold: float
    ) -> None:
        self.threshold = threshold
        self._saes = saes
        self._features = features
        self._decoders = decoders

    def candidates(self, ranks: IntArray, others: IntArray) -> Pairs:
        """The pairs of one of `ranks` and an earlier one of `others` that belong together."""
        return join([self._candidates(ranks, others, sae) for sae in self._decoders])

    def _candidates(self, ranks: IntArray, others: IntArray, sae: int) -> Pairs:
        ranks, others = ranks[self._saes[ranks] == sae], others[self._saes[others] == sae]
        decoder = self._decoders[sae]
        rows, columns = similar_rows(
            decoder[self._features[ranks]], decoder[self._features[others]], self.threshold - ROUNDING
        )
        later, earlier = ranks[rows], others[columns]
        ordered = earlier < later
        return Pairs(later[ordered], earlier[ordered])

    def similarity(self, pairs: Pairs) -> FloatArray:
        """The cosine of each pair; NaN where they are not of one SAE."""
        cosines = np.full(pairs.later.size, np.nan)
        of_sae = np.where(self._saes[pairs.later] == self._saes[pairs.earlier], self._saes[pairs.later], -1)
        for sae, decoder in self._decoders.items():
            mine = np.flatnonzero(of_sae == sae)
            for start in range(0, mine.size, PAIRS_AT_ONCE):
                some = mine[start : start + PAIRS_AT_ONCE]
                one, other = (decoder[self._features[ranks[some]]].astype(np.float64) for ranks in pairs)
                cosines[some] = np.einsum("ij,ij->i", one, other)
        return cosines

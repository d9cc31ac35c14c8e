"""Agreement of two embeddings about the features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz import ScoreColumn, ScoreFact
from saeviz_monosemanticity.baseline import Cutoffs

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


def agreement(columns: Sequence[ScoreColumn], first: Cutoffs) -> Iterator[ScoreFact]:
    """Over the features that have both scores: correlations, and the share in the same calibrated class."""
    by_name = {
        name: np.concatenate([column.values for column in columns if column.name == name])
        for name in ("monosemanticity", "monosemanticity_2", "ms_class_2")
    }
    one, other = by_name["monosemanticity"], by_name["monosemanticity_2"]
    both = np.isfinite(one) & np.isfinite(other)
    yield ScoreFact("monosemanticity_agreement_features", int(both.sum()))
    if both.any():
        pearson, spearman = correlations(one[both], other[both])
        classes = first.classes(one[both])
        yield ScoreFact("monosemanticity_agreement_pearson", pearson)
        yield ScoreFact("monosemanticity_agreement_spearman", spearman)
        same_class = float((classes == by_name["ms_class_2"][both]).mean())
        yield ScoreFact("monosemanticity_agreement_same_class", same_class)


def correlations(one: FloatArray, other: FloatArray) -> tuple[float, float]:
    """Pearson's and Spearman's r of two scores of the same features, none NaN; NaN where one does not vary."""
    from scipy.stats import rankdata

    return _pearson(one, other), _pearson(rankdata(one), rankdata(other))


def _pearson(one: FloatArray, other: FloatArray) -> float:
    if one.size < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(np.corrcoef(one, other)[0, 1])

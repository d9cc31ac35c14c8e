"""Whether two embeddings say the same about the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


def correlations(one: FloatArray, other: FloatArray) -> tuple[float, float]:
    """Pearson's and Spearman's r of two scores of the same features, none NaN; NaN where one does not vary."""
    from scipy.stats import rankdata

    return _pearson(one, other), _pearson(rankdata(one), rankdata(other))


def _pearson(one: FloatArray, other: FloatArray) -> float:
    if one.size < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return np.nan
    return float(np.corrcoef(one, other)[0, 1])

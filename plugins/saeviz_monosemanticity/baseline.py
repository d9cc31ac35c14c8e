"""How alike two images of the run are by chance: the yardstick for monosemanticity."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz_monosemanticity import Thresholds
from saeviz_monosemanticity.embeddings import UnitVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from saeviz.typing import FloatArray, IntArray

N_PAIRS = 50_000
PAIRS_AT_ONCE = 2048


class Baseline(NamedTuple):
    """Mean and standard deviation of the cosine over `n_pairs` random pairs of images; NaN if there are no pairs."""

    mean: float
    sd: float
    n_pairs: int


class Cutoffs(NamedTuple):
    """A score from `moderate` on is moderate, from `monosemantic` on monosemantic, below polysemantic."""

    moderate: float
    monosemantic: float

    def classes(self, scores: FloatArray) -> NDArray[np.str_]:
        """`polysemantic`, `moderate` or `monosemantic`, '' for NaN."""
        conditions = [np.isnan(scores), scores >= self.monosemantic, scores >= self.moderate]
        return np.select(conditions, ["", "monosemantic", "moderate"], default="polysemantic")


def measure_baseline(unit: UnitVectors, seed: int) -> Baseline:
    """Draw 50,000 pairs of different images, or all pairs if there are fewer."""
    left, right = _pairs(len(unit), seed)
    if not left.size:
        return Baseline(np.nan, np.nan, 0)
    cosines = np.concatenate(
        [
            np.einsum("ij,ij->i", unit[left[start : start + PAIRS_AT_ONCE]], unit[right[start : start + PAIRS_AT_ONCE]])
            for start in range(0, left.size, PAIRS_AT_ONCE)
        ]
    )
    return Baseline(float(cosines.mean()), float(cosines.std()), cosines.size)


def _pairs(n: int, seed: int) -> tuple[IntArray, IntArray]:
    if n * (n - 1) // 2 <= N_PAIRS:
        return np.triu_indices(n, k=1)
    random = np.random.default_rng(seed)
    left, right = random.integers(n, size=N_PAIRS), random.integers(n - 1, size=N_PAIRS)
    return left, right + (right >= left)


def cutoffs(thresholds: Thresholds, baseline: Baseline) -> Cutoffs:
    """The source document's 0.35 and 0.50, or mean + 1 sd and mean + 2 sd of the run's own pairs.

    Both are cut-offs of effect size, not tests: the sd is that of single pairs, not of a score.
    """
    if thresholds == "document":
        return Cutoffs(0.35, 0.50)
    return Cutoffs(baseline.mean + baseline.sd, baseline.mean + 2 * baseline.sd)

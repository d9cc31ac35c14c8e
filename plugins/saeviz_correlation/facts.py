"""Figures about a whole run, from the verdicts on its tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz_correlation.family import Verdict

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


def counts(column: str, verdicts: Sequence[Verdict]) -> dict[str, object]:
    """How many relations of each rating have a 1 in the column."""
    ratings = dict.fromkeys(verdict.tests.rating for verdict in verdicts)
    return {f"{column}_{name}": sum(v.count(column) for v in verdicts if v.tests.rating == name) for name in ratings}


def smallest_detectable(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """For each rating the smallest r found with a power of 80 %: the largest over its families; none if unknown."""
    found: dict[str, object] = {}
    for rating in dict.fromkeys(verdict.tests.rating for verdict in verdicts):
        sizes = [verdict.detectable for verdict in verdicts if verdict.tests.rating == rating]
        known = [size for size in sizes if np.isfinite(size)]
        if known:
            found[f"detectable_{rating}"] = max(known)
    return found


def agreement(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Correlation of r between both halves over the relations found; empty if undefined."""
    pairs = []
    for verdict in verdicts:
        if verdict.tests.held_out is not None:
            tested = np.isfinite(verdict.columns["q_held_out"])
            pairs.append(np.stack([verdict.tests.r[tested], verdict.tests.held_out[0][tested]]))
    both: FloatArray = np.hstack(pairs) if pairs else np.zeros((2, 0))
    if both.shape[1] < 3 or not np.ptp(both, axis=1).all():
        return {}
    return {"agreement_of_halves": float(np.asarray(np.corrcoef(both))[0, 1])}

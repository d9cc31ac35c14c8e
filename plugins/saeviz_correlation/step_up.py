"""Families of any number of tests: which are significant, and the adjusted p of some of them, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz_correlation.options import Correction
from saeviz_correlation.spilled import STEP, SortedRun

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

AT_ONCE = 1 << 20
"""About so many p-values are in memory at a time."""


class BigFamily:
    """The p-values of one family, in sorted runs on disk."""

    def __init__(self, runs: Sequence[SortedRun], correction: Correction) -> None:
        self._runs = runs
        self._correction = correction
        self.size = sum(run.size for run in runs)
        self._dependence = float((1 / np.arange(1, self.size + 1)).sum()) if correction == "by" else 1.0

    def largest_significant(self, alpha: float) -> float:
        """The p up to which tests are significant; NaN without tests.

        A step-up procedure finds the largest k with k values of p up to alpha k / m. Starting with k = m, the number of
        p up to alpha k / m is never smaller than that k; used as the next k it arrives there.
        """
        if not self.size:
            return float("nan")
        if self._correction == "bonferroni":
            return alpha / self.size
        found = self.size
        while True:
            limit = alpha * found / (self.size * self._dependence)
            fewer = sum(run.n_below(limit, or_equal=True) for run in self._runs)
            if fewer == found:
                return limit
            found = fewer

    def bound(self, alpha: float) -> float:
        """The p up to which tests are significant; without any, that of a single discovery. NaN without tests."""
        single = alpha / (self.size * self._dependence) if self.size else float("nan")
        return max(self.largest_significant(alpha), single)

    def adjusted(self, p: FloatArray) -> FloatArray:
        """The adjusted p of some tests of the family, NaN where p is."""
        if self._correction == "bonferroni":
            return np.minimum(p * self.size, 1.0)
        by_size = np.argsort(p, axis=None)
        wanted = p.flat[by_size]
        q, smallest, last = np.full(p.size, np.nan), 1.0, np.searchsorted(wanted, np.nan)
        for start, values in self._downwards():
            ratio = values * (self.size * self._dependence) / np.arange(start + 1, start + values.size + 1)
            ratio[-1] = min(ratio[-1], smallest)
            ratio = np.minimum.accumulate(ratio[::-1])[::-1]
            smallest = float(ratio[0])
            first = np.searchsorted(wanted, values[0])
            q[by_size[first:last]] = ratio[np.searchsorted(values, wanted[first:last])]
            last = first
        return q.reshape(p.shape)

    def _downwards(self) -> Iterator[tuple[int, FloatArray]]:
        """All p in ascending order, some at a time, the largest first; with the number of those that are smaller."""
        kept = np.sort(np.concatenate([run.index for run in self._runs])) if self.size else np.zeros(0)
        lowest = np.unique(kept[:: max(1, AT_ONCE // STEP)])
        stops = [run.size for run in self._runs]
        for low in lowest[::-1]:
            starts = [run.n_below(low) for run in self._runs]
            parts = [run.read(*ends) for run, *ends in zip(self._runs, starts, stops, strict=True)]
            values = np.concatenate(parts)
            values.sort(kind="stable")  # knows what is sorted already
            if values.size:
                yield sum(starts), values
            stops = starts

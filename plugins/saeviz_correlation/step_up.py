"""Families of millions of tests: which are significant, and the adjusted p of a few of them, in the memory of the p."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz_correlation.options import Correction

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

AT_ONCE = 1 << 20


class BigFamily:
    """The p-values of one family, in `parts` of any shape; NaN is no test.

    Signs of the p-values are ignored: a caller may keep that of r there. With `in_place`, `adjusted` sorts the parts
    themselves if it can, and is the last thing to ask; else it sorts a copy.
    """

    def __init__(self, parts: Sequence[FloatArray], correction: Correction, *, in_place: bool = True) -> None:
        self._parts = [part.reshape(-1) for part in parts]
        self._correction = correction
        self._in_place = in_place
        self._ordered: FloatArray | None = None
        self.size = sum(int(np.count_nonzero(~np.isnan(one))) for one in self._blocks())
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
            fewer = sum(int(np.count_nonzero(np.abs(one) <= limit)) for one in self._blocks())
            if fewer == found:
                return limit
            found = fewer

    def adjusted(self, p: FloatArray) -> FloatArray:
        """The adjusted p of some tests of the family, NaN where p is."""
        if self._correction == "bonferroni":
            return np.minimum(p * self.size, 1.0)
        ordered = self._sorted() if self._ordered is None else self._ordered
        if not self._in_place:
            self._ordered = ordered
        by_size = np.argsort(p, axis=None)
        places = np.searchsorted(ordered, p.flat[by_size])
        q, smallest = np.full(p.size, np.nan), 1.0
        for start in reversed(range(0, self.size, AT_ONCE)):
            stop = min(start + AT_ONCE, self.size)
            ratio = ordered[start:stop] * (self.size * self._dependence) / np.arange(start + 1, stop + 1)
            ratio[-1] = min(ratio[-1], smallest)
            ratio = np.minimum.accumulate(ratio[::-1])[::-1]
            smallest = float(ratio[0])
            first, last = np.searchsorted(places, [start, stop])
            q[by_size[first:last]] = ratio[places[first:last] - start]
        return q.reshape(p.shape)

    def _sorted(self) -> FloatArray:
        is_whole = len(self._parts) == 1 and self._in_place
        ordered = self._parts[0] if is_whole else np.concatenate(self._parts)
        np.abs(ordered, out=ordered)
        ordered.sort()  # NaN last
        return ordered

    def _blocks(self) -> Sequence[FloatArray]:
        return [part[start : start + AT_ONCE] for part in self._parts for start in range(0, part.size, AT_ONCE)]

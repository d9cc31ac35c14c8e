"""Sums over images that give every correlation of a space, in one pass and in memory per feature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from saeviz_correlation.inference import p_values
from saeviz_correlation.permutation import WORKERS
from saeviz_correlation.robust import Robust, join_robust

if TYPE_CHECKING:
    from saeviz.typing import CSR, FloatArray, IntArray
    from saeviz_correlation.targets import Targets

# The share of a feature's variation that must remain after controls; below it, a correlation is rounding error.
NOTHING_LEFT = 1e-10


@dataclass(frozen=True)
class Correlations:
    """Correlations of every feature with `targets`, over the images that have these.

    `n_active` `[n_features]`: number of images on which it fires. `r`: `[n_features, n_targets]`. `spread`
    `[n_features]`: length of the feature's values minus their mean and the controls. `r` and `spread` are NaN if the
    feature does not vary, `r` also if the rating does not, or if no degree of freedom is left. `robust`: p and
    intervals that do not assume independent images, if requested; `permuted_p` `[n_features, n_targets]`: p by
    permutation, if requested.
    """

    targets: Targets
    n_active: IntArray
    r: FloatArray
    spread: FloatArray
    robust: Robust | None = field(default=None, kw_only=True)
    permuted_p: FloatArray | None = field(default=None, kw_only=True)

    def spread_of_active(self, min_active: int) -> FloatArray:
        """`spread`, NaN also for a feature that fires on fewer than `min_active` images."""
        return np.where(self.n_active >= min_active, self.spread, np.nan)

    def of(self, features: slice) -> Correlations:
        """The correlations of some of the features."""
        return Correlations(self.targets, self.n_active[features], self.r[features], self.spread[features])

    def of_targets(self, part: slice) -> Correlations:
        """The correlations with some of the targets."""
        return Correlations(self.targets.some(part), self.n_active, self.r[:, part], self.spread)


def joined(parts: Sequence[Correlations]) -> Correlations:
    """The correlations of several blocks of features with the same targets, concatenated."""
    robust = [part.robust for part in parts if part.robust is not None]
    return Correlations(
        parts[0].targets,
        np.concatenate([part.n_active for part in parts]),
        np.concatenate([part.r for part in parts]),
        np.concatenate([part.spread for part in parts]),
        robust=join_robust(robust) if robust else None,
    )


def correlations_of(targets: Targets, block: CSR) -> Correlations:
    """Those of features whose values over all images are in memory, CSR `[n_features, n_items]`."""
    sums = RatedSums(targets, block.shape[0])
    sums.add(slice(None), block.T.tocsr())
    return sums.correlations()


def r_and_p(found: Correlations) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Each rating's name, r, and p of independent images."""
    columns = np.ascontiguousarray(found.r.T)
    with ThreadPoolExecutor(WORKERS) as pool:  # SciPy's functions let other threads work
        p = pool.map(lambda r: p_values(r, found.targets.df), columns)
        yield from zip(found.targets.names, columns, p, strict=True)


class RatedSums:
    """Accumulates sums of every feature, and of its products with each target, over the images of the targets."""

    def __init__(self, targets: Targets, n_features: int) -> None:
        self.targets = targets
        self._against = np.hstack([targets.values, targets.basis, targets.rated[:, None]])
        self._cross = np.zeros((n_features, self._against.shape[1]))
        self._shift: FloatArray | None = None
        self._stored = np.zeros(n_features, dtype=np.int64)
        self._active = np.zeros(n_features, dtype=np.int64)
        self._squares = np.zeros(n_features)

    def add(self, rows: slice, matrix: CSR) -> None:
        """Add the features of the images `rows`."""
        rated = self.targets.rated[rows]
        if not rated.any():
            return
        if not rated.all():
            matrix = matrix[rated]
        values = matrix.data.astype(np.float64)
        stored = np.bincount(matrix.indices, minlength=self._stored.size)
        self._stored += stored
        if values.size and values.min() > 0:
            self._active += stored
        else:
            self._active += np.bincount(matrix.indices[values > 0], minlength=stored.size)
        self._cross += _with_values(matrix, values).T @ self._against[rows][rated]
        if self._shift is None:
            self._shift = _shift(matrix, values, stored)
        if self._shift.any():
            values -= self._shift[matrix.indices]
        np.square(values, out=values)
        self._squares += _with_values(matrix, values).T @ np.ones(matrix.shape[0])

    def correlations(self) -> Correlations:
        """Pearson's r, partial where the targets have controls."""
        targets = self.targets
        n, n_targets = targets.n, targets.values.shape[1]
        if self._shift is None or targets.df < 1:
            nothing = np.full(self._cross.shape, np.nan)
            return Correlations(targets, self._active, nothing[:, :n_targets], nothing[:, -1])
        total = self._cross[:, -1]
        shifted_squares = self._squares + (n - self._stored) * self._shift**2
        all_variation = shifted_squares - (total - n * self._shift) ** 2 / n
        # the targets add up to zero only within rounding, which a feature with a large mean would magnify
        cross = self._cross[:, :-1] - np.outer(total, self._against[:, :-1].sum(axis=0) / n)
        variation = all_variation - np.square(cross[:, n_targets:]).sum(axis=1)
        varies = (shifted_squares > 0) & (variation > NOTHING_LEFT * all_variation)
        spread = np.sqrt(variation, out=np.full(variation.shape, np.nan), where=varies)
        r = np.clip(cross[:, :n_targets] / spread[:, None], -1.0, 1.0)
        r[:, ~targets.values.any(axis=0)] = np.nan
        return Correlations(targets, self._active, r, spread)


def _shift(matrix: CSR, values: FloatArray, stored: IntArray) -> FloatArray:
    """One of its own values for each feature that is rarely zero, 0 for the others.

    Subtracting it keeps the precision of the variance of a feature that is always on, and makes that of a constant one
    exactly zero. The other features need no shift: their silent images make the variance large.
    """
    shift = np.zeros(stored.size)
    often = 2 * stored > matrix.shape[0]
    if often.any():
        shift[matrix.indices] = values
        shift[~often] = 0.0
    return shift


def _with_values(matrix: CSR, values: FloatArray) -> CSR:
    from scipy.sparse import csr_array

    return csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)

"""Sums over images that give every correlation of a space, in one pass and in memory per feature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

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

    of_targets_only: ClassVar[tuple[str, ...]] = ()
    """Arrays that do not have a row for each feature."""

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
    return correlations_from(targets, rated_sums(targets, slice(None), block.T.tocsr()))


def r_and_p(found: Correlations) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Each rating's name, r, and p of independent images."""
    columns = np.ascontiguousarray(found.r.T)
    with ThreadPoolExecutor(WORKERS) as pool:  # SciPy's functions let other threads work
        p = pool.map(lambda r: p_values(r, found.targets.df), columns)
        yield from zip(found.targets.names, columns, p, strict=True)


class RatedSums(NamedTuple):
    """Of each feature, over those of some images that the targets are of.

    `n`: number of these images, `[]`. `n_active`: on how many it fires; `mean`; `variation`: sum of squared deviations
    from it, exactly 0 if the feature is constant: `[n_features]`. `cross` `[n_features, n_targets + n_controls]`: sums
    of products with the targets and the basis of the controls.
    """

    n: IntArray
    n_active: IntArray
    mean: FloatArray
    variation: FloatArray
    cross: FloatArray


def rated_sums(targets: Targets, rows: slice, matrix: CSR) -> RatedSums:
    """Over the images `rows`, whose features are CSR `[n_rows, n_features]`."""
    rated = targets.rated[rows]
    if not rated.all():
        matrix = matrix[rated]
    n, n_features = matrix.shape
    values = matrix.data.astype(np.float64)
    stored = np.bincount(matrix.indices, minlength=n_features)
    is_positive = values.size and values.min() > 0
    n_active = stored if is_positive else np.bincount(matrix.indices[values > 0], minlength=n_features)
    against = np.hstack([targets.values[rows], targets.basis[rows]])[rated]
    cross = _with_values(matrix, values).T @ against
    shift = _shift(matrix, values, stored)
    if shift.any():
        values -= shift[matrix.indices]
    shifted = _with_values(matrix, values).T @ np.ones(n) - (n - stored) * shift
    np.square(values, out=values)
    squares = _with_values(matrix, values).T @ np.ones(n) + (n - stored) * shift**2
    mean = shifted / max(n, 1)
    return RatedSums(np.array(n), n_active, shift + mean, np.maximum(squares - shifted * mean, 0.0), cross)


def merged_sums(one: RatedSums, other: RatedSums) -> RatedSums:
    """Over the images of both: Chan, Golub and LeVeque (1983) on the variation."""
    n = one.n + other.n
    share = other.n / max(int(n), 1)
    difference = other.mean - one.mean
    between = np.square(difference) * (share * one.n)
    return RatedSums(
        n,
        one.n_active + other.n_active,
        one.mean + difference * share,
        one.variation + other.variation + between,
        one.cross + other.cross,
    )


def correlations_from(targets: Targets, sums: RatedSums) -> Correlations:
    """Pearson's r over all images of the targets, partial where these have controls."""
    n_targets = targets.values.shape[1]
    if targets.df < 1:
        nothing = np.full((sums.mean.size, n_targets), np.nan)
        return Correlations(targets, sums.n_active, nothing, np.full(sums.mean.size, np.nan))
    # the targets add up to zero only within rounding, which a feature with a large mean would magnify
    residue = np.hstack([targets.values, targets.basis]).sum(axis=0)
    cross = sums.cross - np.outer(sums.mean, residue)
    variation = sums.variation - np.square(cross[:, n_targets:]).sum(axis=1)
    varies = (sums.variation > 0) & (variation > NOTHING_LEFT * sums.variation)
    spread = np.sqrt(variation, out=np.full(variation.shape, np.nan), where=varies)
    r = np.clip(cross[:, :n_targets] / spread[:, None], -1.0, 1.0)
    r[:, ~targets.values.any(axis=0)] = np.nan
    return Correlations(targets, sums.n_active, r, spread)


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

"""p-values and intervals of correlations that stay right where images of a group are alike, or spreads differ.

A correlation is the slope of a simple regression between standardized values. Its variance is estimated by a sandwich
of clusters, with the bias-reduced linearization of Bell and McCaffrey (2002), CR2, and Satterthwaite's degrees of
freedom (Pustejovsky and Tipton 2018), under the working model of independent images. Where each image is a cluster that
is HC2. HC3 with Student's t and n - 2 degrees of freedom would find what is not there in features that fire rarely.

It takes the hat matrix within a cluster, I - H = I - UU' with U the constant and the feature. CR2 needs its inverse
square root times the feature, which is U (I - U'U)^(-1/2) times the last unit vector: 2 x 2 matrices, in closed form.

HC2 is too small where the few images on which a feature fires happen to have similar ratings, which is often if ratings
are skewed. For single images p and interval are therefore at least as large as the usual ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz_correlation.clusters import Clusters, make_clusters
from saeviz_correlation.group_sums import GroupSums, group_sums
from saeviz_correlation.inference import confidence_interval, p_values
from saeviz_correlation.permutation import WORKERS
from saeviz_correlation.within import Inflation, heterogeneity, r_within

if TYPE_CHECKING:
    from saeviz.typing import CSR, FloatArray, IntArray
    from saeviz_correlation.moments import Correlations
    from saeviz_correlation.targets import Targets

AT_ONCE = 1 << 17
"""Features times clusters at once, so that what is computed of them, some of 1 MiB each, stays in the cache."""

TARGETS_AT_ONCE = 32
"""Targets whose products with features are in memory, each as large as one of `AT_ONCE`."""

ALL_IN_ONE = 1e-9
"""Below this determinant of I - U'U, of at most 1, a feature varies within one cluster only."""


@dataclass(frozen=True)
class Robust:
    """`p` and the 95 % interval `low` to `high`, `[n_features, n_targets]`; by feature, `df` and `n_groups`.

    `n_groups` is the number of clusters in which a feature fires. p, interval and df are NaN where r is, and for a
    feature that differs between images of one cluster only: nothing says how it would be in another. `within` is r
    after the means of clusters are taken out, `differs` the p of the hypothesis that r is the same in all clusters.
    `slope` `[n_features, n_targets]` is the variance that p goes by; `squares` `[n_features]` sums the squares of the
    sums of a feature, centred and of length 1, over clusters.
    """

    p: FloatArray
    low: FloatArray
    high: FloatArray
    df: FloatArray
    n_groups: IntArray
    within: FloatArray
    differs: FloatArray
    slope: FloatArray
    squares: FloatArray


class _Weights(NamedTuple):
    """A cluster's residuals are multiplied by `constant` + `slope` times the feature.

    `other` is the sum of that times the feature, `df` that of the feature.
    """

    constant: FloatArray
    slope: FloatArray
    other: FloatArray
    df: FloatArray


class Robustly:
    """Robust errors for some targets: of clusters by the codes of all images, of single images without codes.

    Without `inflation`, that of the variance of Fisher's z, clusters are not compared with one another.
    """

    def __init__(self, targets: Sequence[Targets], codes: IntArray | None, inflation: Inflation | None) -> None:
        self.clusters = [make_clusters(one, codes) for one in targets]
        self._inflation = inflation

    def of(self, place: int, found: Correlations, block: CSR) -> Correlations:
        """What was found for the targets at this place with the block's features, with errors.

        `block` is CSR `[n_features, n_items]`, as the features enter the correlation.
        """
        return replace(found, robust=_robust(found, block, self.clusters[place], self._inflation))


def join_robust(parts: Sequence[Robust]) -> Robust:
    """The results of some features, then of others."""
    names = ("p", "low", "high", "df", "n_groups", "within", "differs", "slope", "squares")
    return Robust(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _robust(found: Correlations, block: CSR, clusters: Clusters, inflation: Inflation | None) -> Robust:
    n_features = block.shape[0]
    step = max(1, AT_ONCE // max(1, clusters.starts.size))
    parts = [slice(start, min(start + step, n_features)) for start in range(0, n_features, step)]

    def of_part(features: slice) -> Robust:
        return _of_features(found.of(features), block[features], clusters, inflation)

    with ThreadPoolExecutor(WORKERS) as pool:  # NumPy lets other threads work
        return join_robust(list(pool.map(of_part, parts)))


def _of_features(found: Correlations, block: CSR, clusters: Clusters, inflation: Inflation | None) -> Robust:
    n, r = clusters.images.size, found.r
    nothing = np.full(r.shape, np.nan)
    if n < 3:
        none, unknown = np.zeros(len(r), dtype=np.int64), np.full(len(r), np.nan)
        return Robust(nothing, nothing, nothing, unknown, none, nothing, nothing, nothing, unknown)
    sums = group_sums(block, found.spread, clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = _cr2(sums, clusters.sizes, n)
    n_targets = len(found.targets.names)
    parts = [
        _of_targets(found.of_targets(slice(start, start + TARGETS_AT_ONCE)), sums, weights, clusters, inflation)
        for start in range(0, n_targets, TARGETS_AT_ONCE)
    ]
    p, low, high, within, differs, slope = (np.hstack(columns) for columns in zip(*parts, strict=True))
    return Robust(
        p,
        low,
        high,
        df=np.where(np.isfinite(p).any(axis=1), weights.df, np.nan),
        n_groups=np.count_nonzero(sums.n_active, axis=1),
        within=within,
        differs=differs,
        slope=slope,
        squares=np.einsum("fg,fg->f", sums.feature, sums.feature),
    )


def _of_targets(
    found: Correlations, sums: GroupSums, weights: _Weights, clusters: Clusters, inflation: Inflation | None
) -> tuple[FloatArray, ...]:
    """For some targets `p`, `low`, `high`, `within`, `differs` and `slope`; the products with all would be large."""
    from scipy.special import stdtrit

    products = [sums.times(target) for target in found.targets.values.T]
    with np.errstate(divide="ignore", invalid="ignore"):
        quantile = stdtrit(weights.df, 0.975)
        factor = (clusters.images.size - 2) / max(found.targets.df, 1)  # controls, which CR2 does not count
        variances = [
            (slope * factor, of_r * factor) for slope, of_r in _variances(found, sums, products, weights, clusters)
        ]
        results = [
            _inference(r, weights.df, quantile, *variance) for r, variance in zip(found.r.T, variances, strict=True)
        ]
    p, low, high = (np.column_stack(columns) for columns in zip(*results, strict=True))
    if clusters.starts.size == clusters.images.size:
        usual = confidence_interval(found.r, found.targets.df)
        p, low, high = (
            np.maximum(p, p_values(found.r, found.targets.df)),
            np.minimum(low, usual[0]),
            np.maximum(high, usual[1]),
        )
    within = differs = np.full(p.shape, np.nan)
    if inflation is not None:
        within = r_within(found, sums, clusters)
        differs = heterogeneity(found, sums, products, clusters, inflation)
    return p, low, high, within, differs, np.column_stack([slope for slope, _ in variances])


def _cr2(of: GroupSums, sizes: IntArray, n: int) -> _Weights:
    sums, squares = of.feature, of.squares
    share, across = 1 - sizes / n, sums / np.sqrt(n)  # I - U'U is [[share, -across], [-across, 1 - squares]]
    determinant = share * (1 - squares) - across**2
    root = np.sqrt(np.maximum(determinant, 0))
    scale = 1 / (root * np.sqrt(share + 1 - squares + 2 * root))
    constant, slope = across * scale / np.sqrt(n), (share + root) * scale
    one, other = (constant * sizes + slope * sums) / np.sqrt(n), constant * sums + slope * squares
    length = constant**2 * sizes + 2 * constant * slope * sums + slope**2 * squares
    squared = (length * (length - 2 * (one**2 + other**2))).sum(axis=1)  # the trace of its square; its own trace is 1
    squared += (one**2).sum(axis=1) ** 2 + 2 * (one * other).sum(axis=1) ** 2 + (other**2).sum(axis=1) ** 2
    known = (determinant > ALL_IN_ONE).all(axis=1) & (sizes.size > 2)
    return _Weights(constant, slope, other, np.where(known, 1 / squared, np.nan))


def _variances(
    found: Correlations, sums: GroupSums, products: Sequence[FloatArray], weights: _Weights, clusters: Clusters
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """For each target the variance of the slope, and that of r, whose standard deviations are estimated too."""
    for target, r, product in zip(found.targets.values.T, found.r.T, products, strict=True):
        own, of_target = r[:, None], clusters.sums(target[clusters.images])
        score = weights.slope * product
        score += weights.constant * of_target
        score -= own * weights.other
        slope = np.einsum("fg,fg->f", score, score)
        score += own / 2 * (sums.squares - clusters.sums(target[clusters.images] ** 2))
        yield slope, np.einsum("fg,fg->f", score, score)


def _inference(
    r: FloatArray, df: FloatArray, quantile: FloatArray, slope: FloatArray, of_r: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The p by the variance of the slope; the bounds by that of r, on the scale of Fisher's z."""
    from scipy.special import betainc

    p = betainc(df / 2, 0.5, df / (df + r**2 / slope))
    left = (1 - r) * (1 + r)
    width = np.tanh(np.where(left > 0, quantile * np.sqrt(of_r) / left, 0.0))
    return p, (r - width) / (1 - r * width), (r + width) / (1 + r * width)

"""Correlations within groups of images, and whether they differ between groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from saeviz_correlation.columns import products

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray
    from saeviz_correlation.clusters import Clusters
    from saeviz_correlation.group_sums import GroupSums
    from saeviz_correlation.moments import Correlations

Inflation = Callable[["FloatArray"], "FloatArray | float"]

FEWEST, FEWEST_ACTIVE = 20, 10
"""Images of a group, and images of it on which a feature fires, for an r of that group."""

NOTHING_LEFT = 1e-10
"""Of values of length 1, what is left within groups is rounding below this square."""


def r_within(found: Correlations, sums: GroupSums, clusters: Clusters) -> FloatArray:
    """Correlation of what is left of feature and target after the mean of each group is taken out.

    NaN where nothing is left: the feature or the target is the same within each group.
    """
    targets = clusters.sums(found.targets.values[clusters.images].T)
    of_feature = 1 - (sums.feature**2 / clusters.sizes).sum(axis=1, keepdims=True)
    of_target = 1 - (targets**2 / clusters.sizes).sum(axis=1)
    both = (of_feature > NOTHING_LEFT) & (of_target > NOTHING_LEFT)
    product = found.r - products(sums.feature, (targets / clusters.sizes).T)
    r = product / np.sqrt(np.where(both, of_feature * of_target, np.nan))
    return np.asarray(np.clip(r, -1.0, 1.0))


def heterogeneity(
    found: Correlations, sums: GroupSums, with_targets: Sequence[FloatArray], clusters: Clusters, inflation: Inflation
) -> FloatArray:
    """The p of Cochran's Q over Fisher's z of each group: small where r differs between groups more than by chance.

    Over groups of at least 20 images on 10 of which the feature fires; NaN with fewer than two of these. `with_targets`
    are the sums of the features times each target.

    It assumes normal variables and independent images within a group: the variance of z is then 1 / (size - 3), times
    `inflation` of the r that groups have in common. For features that fire rarely that is too small where r is not 0,
    and for groups of near-duplicates always.
    """
    from scipy.special import chdtrc

    large = np.flatnonzero(clusters.sizes >= FEWEST)
    p = np.full(found.r.shape, np.nan)
    if large.size < 2:
        return p
    sizes, of_feature = clusters.sizes[large], _columns(sums.feature, large)
    variation = _columns(sums.squares, large) - of_feature**2 / sizes
    usable = (_columns(sums.n_active, large) >= FEWEST_ACTIVE) & (variation > NOTHING_LEFT)
    for place, target in enumerate(found.targets.values.T):
        of_target = clusters.sums(target[clusters.images])[large]
        left = clusters.sums(target[clusters.images] ** 2)[large] - of_target**2 / sizes
        known = usable & (left > NOTHING_LEFT)
        product = _columns(with_targets[place], large) - of_feature * of_target / sizes
        scale = np.sqrt(np.where(known, variation * left, 1.0))
        z = np.arctanh(np.clip(product / scale, -1 + 1e-15, 1 - 1e-15))
        weight = np.where(known, sizes - 3.0, 0.0)
        n_groups, total = known.sum(axis=1), np.maximum(weight.sum(axis=1), 1.0)
        mean = (weight * z).sum(axis=1) / total
        q = (weight * (z - mean[:, None]) ** 2).sum(axis=1) / inflation(np.tanh(mean))
        p[:, place] = np.where(n_groups > 1, chdtrc(np.maximum(n_groups - 1, 1), q), np.nan)
    p[np.isnan(found.r)] = np.nan
    return p


def _columns(values: FloatArray, chosen: IntArray) -> FloatArray:
    """Some columns, row by row in memory, so that a row is summed in the same order whatever others there are."""
    found: FloatArray = np.take(values, chosen, axis=1)
    return found

"""The variance of an area under the curve where images of a group are alike.

Obuchowski (1997): the placement of an image is the share of images of the other side that it is ahead of (behind, for
an image without the target), and the area varies as the sums of placements over groups do. As in CR2, what an image
contributes is enlarged by the share of its side that lies in its group, so that few groups do not look alike by chance;
the degrees of freedom are Satterthwaite's under the working model that placements of images are independent and vary
alike on both sides. Both depend on the target alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeviz_correlation.areas import Counts, Ties

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray
    from saeviz_correlation.clusters import Clusters


class Sides:
    """How many images of each cluster have a target, and how many lack it.

    `has` `[n_items]` is 1 or 0 on the images of the clusters.
    """

    def __init__(self, clusters: Clusters, has: FloatArray) -> None:
        self.n_clusters = clusters.starts.size
        self.has = has
        self._with = clusters.sums(has[clusters.images])
        self._without = clusters.sizes - self._with

    @property
    def smaller(self) -> float:
        """The share of clusters in which images have it, or in which images lack it, whichever is smaller."""
        return min(np.count_nonzero(self._with), np.count_nonzero(self._without)) / self.n_clusters

    def weights(self) -> tuple[FloatArray, FloatArray]:
        """What the placement of an image of each cluster counts in the area, for images with and without the target.

        NaN if all images of a side are in one cluster.
        """
        weights = []
        for inside in (self._with, self._without):
            left = 1 - inside / inside.sum()
            weights.append(1 / (inside.sum() * np.sqrt(np.where(left > 0, left, np.nan))))
        return weights[0], weights[1]

    def df(self) -> float:
        """Satterthwaite's degrees of freedom of the variance."""
        n_with, n_without = self._with.sum(), self._without.sum()
        of_with, of_without = self.weights()
        own = of_with**2 * self._with + of_without**2 * self._without
        left, right = of_with * self._with / np.sqrt(n_with), of_without * self._without / np.sqrt(n_without)
        squares = float(own @ own - 2 * own @ (left**2 + right**2))
        squares += float((left @ left) ** 2 + 2 * (left @ right) ** 2 + (right @ right) ** 2)
        return float((1 / n_with + 1 / n_without) ** 2 / squares)

    def totals(self) -> tuple[FloatArray, FloatArray]:
        """Images with and without the target in each cluster, times their weights."""
        of_with, of_without = self.weights()
        return self._with * of_with, self._without * of_without


class Placements:
    """The stored values of some features, by feature and cluster."""

    def __init__(self, ties: Ties, clusters: Clusters) -> None:
        sizes = ties.size.astype(np.int64)
        feature = np.repeat(np.repeat(np.arange(len(ties.counts)), ties.counts), sizes)
        self._ties = ties
        self._tie: IntArray = np.repeat(np.arange(sizes.size), sizes)
        self._cluster: IntArray = clusters.group_of[ties.images]
        self._shape = len(ties.counts), clusters.starts.size
        self._pair = feature * self._shape[1] + self._cluster

    def variance(self, sides: Sides, counts: Counts, area: FloatArray) -> FloatArray:
        """That of the area of each feature with one target."""
        ties = self._ties
        n_positive = float(counts.n_positive)
        n_negative = ties.n - n_positive
        ahead = (ties.below - counts.before + 0.5 * (ties.size - counts.positive)) / n_negative
        behind = 1 - (counts.before + 0.5 * counts.positive) / n_positive
        at_zero = ties.negative - counts.below_zero + 0.5 * (ties.zeros - counts.zero_positive)
        ahead_at_zero = at_zero / n_negative
        behind_at_zero = 1 - (counts.below_zero + 0.5 * counts.zero_positive) / n_positive
        of_with, of_without = sides.weights()
        placement = np.where(
            sides.has[ties.images] == 1,
            (ahead - ties.spread(ahead_at_zero))[self._tie] * of_with[self._cluster],
            (behind - ties.spread(behind_at_zero))[self._tie] * of_without[self._cluster],
        )
        total_with, total_without = sides.totals()
        sums = (ahead_at_zero - area)[:, None] * total_with
        sums += (behind_at_zero - area)[:, None] * total_without
        sums += np.bincount(self._pair, placement, self._shape[0] * self._shape[1]).reshape(self._shape)
        return np.asarray(np.einsum("fg,fg->f", sums, sums))

"""Which images belong together: the groups of a run, as clusters of the images that have a rating."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray
    from saeviz_correlation.targets import Targets


@dataclass(frozen=True)
class Clusters:
    """The images of some targets, cluster by cluster.

    `images` are their rows, those of a cluster side by side; `starts` says where in it each cluster begins. `group_of`
    `[n_items]` is the cluster of each image, -1 for one without the targets. `basis` is that of the targets, in the
    order of `images`.
    """

    images: IntArray
    starts: IntArray
    group_of: IntArray
    basis: FloatArray

    @property
    def sizes(self) -> IntArray:
        """The number of images of each cluster."""
        return np.diff(self.starts, append=self.images.size)

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums over the images of each cluster; the last axis of `values` is that of `images`."""
        return np.add.reduceat(values, self.starts, axis=-1) if self.starts.size < self.images.size else values


def group_codes(groups: Sequence[str | None]) -> IntArray:
    """A number for each group `[n_items]`; an image without a group has one of its own."""
    known: dict[str, int] = {}
    codes = np.fromiter((-1 if name is None else known.setdefault(name, len(known)) for name in groups), np.int64)
    alone = np.flatnonzero(codes < 0)
    codes[alone] = len(known) + np.arange(alone.size)
    return codes


def share_between(values: FloatArray, codes: IntArray) -> float:
    """The share of the variance of a rating that lies between groups: ICC(1) by a one-way analysis of variance.

    Missing values are left out. Below 0 where groups differ less than by chance; NaN if the rating never varies, there
    is one group, or no group has two images.
    """
    rated = np.isfinite(values)
    _, of_row, sizes = np.unique(codes[rated], return_inverse=True, return_counts=True)
    n, n_groups = int(sizes.sum()), sizes.size
    if n_groups < 2 or n == n_groups:
        return np.nan
    centred = values[rated] - values[rated].mean()
    means = np.bincount(of_row, centred) / sizes
    between = float(sizes @ means**2) / (n_groups - 1)
    within = float(np.square(centred - means[of_row]).sum()) / (n - n_groups)
    usual = (n - float(sizes @ sizes) / n) / (n_groups - 1)  # the size of a group, for the expectation of `between`
    total = between + (usual - 1) * within
    return (between - within) / total if total > 0 else np.nan


def make_clusters(targets: Targets, codes: IntArray | None) -> Clusters:
    """The images of the targets in clusters by their codes; each on its own if there are none."""
    images = np.flatnonzero(targets.rated)
    starts = np.arange(images.size)
    if codes is not None:
        images = images[np.argsort(codes[images], kind="stable")]
        starts = np.flatnonzero(np.diff(codes[images], prepend=-1))
    group_of = np.full(targets.rated.size, -1)
    group_of[images] = np.repeat(np.arange(starts.size), np.diff(starts, append=images.size))
    return Clusters(images, starts, group_of, targets.basis[images])

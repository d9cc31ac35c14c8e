"""Bootstrap intervals of correlations, and how often they would be found again.

Images are drawn with replacement, or whole groups of them. A sample is a number for each image, how often it was drawn,
and r follows from sums of the feature, its square and its product with the rating, each weighted by these numbers:
products of sparse columns with the table of all samples. So only features whose relation was found are computed, and
no sample is ever put together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeviz_correlation.clusters import Clusters, make_clusters
from saeviz_correlation.columns import feature_blocks

if TYPE_CHECKING:
    from saeviz import ScoreInput
    from saeviz.typing import CSR, FloatArray, IntArray, Mask
    from saeviz_correlation.family import Verdict
    from saeviz_correlation.targets import Targets

FEATURES_AT_ONCE = 128
ENTRIES_AT_ONCE = 1 << 22
"""Of the table of samples, as floats: 32 MiB."""
FEWEST_SHARE = 0.9
"""Of the samples must have an r: a feature that fires in few groups is silent in some of them."""
NAMES = ("ci_low_bootstrap", "ci_high_bootstrap", "stability")
NOTHING_LEFT = 1e-10


@dataclass(frozen=True)
class Bootstrap:
    """How many samples are drawn, with which seed, and the group of each image, None where single images are drawn."""

    n_samples: int
    seed: int
    codes: IntArray | None

    def columns(
        self,
        data: ScoreInput,
        prepare: Callable[[CSR], CSR],
        targets: Sequence[Targets],
        verdicts: Mapping[str, Verdict],
    ) -> Iterator[tuple[str, dict[str, FloatArray]]]:
        """For each rating the columns `NAMES`, NaN for features whose relation is not significant.

        The interval is BCa (Efron 1987), of 95 %. `stability` is the share of samples in which r has the same sign and
        is as large as it must be to be significant, given the bound that the family had and the standard error of the
        test.
        """
        found = {name: verdict.columns["significant"] == 1 for name, verdict in verdicts.items()}
        columns = {name: {one: np.full(of.size, np.nan) for one in NAMES} for name, of in found.items()}
        chosen = np.flatnonzero(np.logical_or.reduce(list(found.values())))
        samples = [Samples(one, self) for one in targets]
        for part, block in feature_blocks(data, prepare, chosen=chosen) if chosen.size else ():
            for start in range(0, block.shape[0], FEATURES_AT_ONCE):
                rows = slice(start, min(start + FEATURES_AT_ONCE, block.shape[0]))
                features = chosen[part][rows]
                for drawn in samples:
                    _fill(columns, drawn, block[rows], features, found, verdicts)
        yield from columns.items()


def _fill(
    columns: Mapping[str, dict[str, FloatArray]],
    drawn: Samples,
    block: CSR,
    features: IntArray,
    found: Mapping[str, Mask],
    verdicts: Mapping[str, Verdict],
) -> None:
    names = drawn.targets.names
    wanted = {place: np.flatnonzero(found[name][features]) for place, name in enumerate(names) if name in found}
    wanted = {place: rows for place, rows in wanted.items() if rows.size}
    if not wanted:
        return
    for place, (of_samples, without_one) in drawn.correlations(block, wanted):
        name, own = names[place], features[wanted[place]]
        verdict = verdicts[name]
        r = verdict.tests.r[own]
        bound = significant_from(r, verdict.tests.p[own], verdict.largest_p)
        with np.errstate(divide="ignore"):
            again = np.arctanh(of_samples * np.sign(r)[:, None]) >= bound[:, None]
        results = (*bca(r, of_samples, without_one), again.mean(axis=1))
        for column, values in zip(NAMES, results, strict=True):
            columns[name][column][own] = values


def significant_from(r: FloatArray, p: FloatArray, largest_p: float) -> FloatArray:
    """Fisher's z from which a test is significant that has this p at this r: both scaled by normal quantiles."""
    from scipy.special import ndtri

    with np.errstate(divide="ignore", invalid="ignore"):
        share = ndtri(largest_p / 2) / ndtri(p / 2)
        return np.where(share > 0, np.arctanh(np.abs(r)) * share, 0.0)


def bca(r: FloatArray, of_samples: FloatArray, without_one: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The 95 % intervals of `r` `[n]` by the bias-corrected and accelerated bootstrap, NaN where samples lack an r.

    `of_samples` `[n, n_samples]` are those of samples, `without_one` `[n, n_groups]` those without one group each.
    """
    from scipy.special import ndtr, ndtri

    known = np.isfinite(of_samples)
    n_known = known.sum(axis=1)
    left = without_one - np.nanmean(without_one, axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = (of_samples < r[:, None]).sum(axis=1) + (of_samples <= r[:, None]).sum(axis=1)
        bias = ndtri(below / (2 * n_known))
        acceleration = -np.nansum(left**3, axis=1) / (6 * np.nansum(left**2, axis=1) ** 1.5)
        ends = []
        for end in (0.025, 0.975):
            z = bias + ndtri(end)
            ends.append(ndtr(bias + z / (1 - acceleration * z)))
    usable = (n_known >= FEWEST_SHARE * of_samples.shape[1]) & np.isfinite(ends).all(axis=0)
    low, high = np.full(r.shape, np.nan), np.full(r.shape, np.nan)
    for place in np.flatnonzero(usable):
        sample = of_samples[place][known[place]]
        low[place], high[place] = np.quantile(sample, [ends[0][place], ends[1][place]])
    return low, high


_Pair = tuple["FloatArray", "FloatArray"]
"""By samples, and over all images but those of one group."""


class Samples:
    """How often each group, or single image, of some targets is drawn in each sample: `[n_groups, n_samples]`."""

    def __init__(self, targets: Targets, bootstrap: Bootstrap) -> None:
        self.targets = targets
        self._clusters = make_clusters(targets, bootstrap.codes)
        n_groups = self._clusters.starts.size
        random = np.random.default_rng(bootstrap.seed)
        self.counts = np.zeros((n_groups, bootstrap.n_samples), dtype=np.uint16)
        for sample in range(bootstrap.n_samples):
            self.counts[:, sample] = np.bincount(random.integers(n_groups, size=n_groups), minlength=n_groups)
        self._members = _members(self._clusters)
        self._n = self._of_images(np.ones(self._clusters.images.size))
        self._of_targets: dict[int, tuple[_Pair, _Pair]] = {}

    def correlations(
        self, block: CSR, wanted: Mapping[int, IntArray]
    ) -> Iterator[tuple[int, tuple[FloatArray, FloatArray]]]:
        """R of some rows of a block `[n_features, n_items]` with each target that is wanted.

        In each sample `[n_rows, n_samples]`, and over all images but those of one group `[n_rows, n_groups]`.
        """
        from scipy.sparse import csr_array

        block = block[:, self._clusters.images].astype(np.float64)
        of_x, of_xx = self._of_features(block), self._of_features(block.multiply(block).tocsr())
        for target, rows in wanted.items():
            y = self.targets.values[self._clusters.images, target]
            if target not in self._of_targets:
                self._of_targets[target] = self._of_images(y), self._of_images(y**2)
            of_y, of_yy = self._of_targets[target]
            own = block[rows]
            product = csr_array((own.data * y[own.indices], own.indices, own.indptr), shape=own.shape)
            of_xy = self._of_features(product)
            by_sample, without_one = (
                _correlations(self._n[k], of_x[k][rows], of_xx[k][rows], of_y[k], of_yy[k], of_xy[k]) for k in (0, 1)
            )
            yield target, (by_sample, without_one)

    def _of_images(self, values: FloatArray) -> _Pair:
        sums = values if self._members is None else self._members.T @ values
        return sums @ self.counts, sums.sum() - sums

    def _of_features(self, values: CSR) -> _Pair:
        sums = values if self._members is None else values @ self._members
        step = max(1, ENTRIES_AT_ONCE // max(1, len(self.counts)))
        starts = range(0, self.counts.shape[1], step)
        parts = [sums @ self.counts[:, start : start + step].astype(np.float64) for start in starts]
        by_group = sums.toarray()
        return np.hstack(parts), by_group.sum(axis=1, keepdims=True) - by_group


def _members(clusters: Clusters) -> CSR | None:
    """1 where an image belongs to a cluster `[n_images, n_clusters]`; None where each is one of its own."""
    from scipy.sparse import csr_array

    n_images, n_clusters = clusters.images.size, clusters.starts.size
    if n_images == n_clusters:
        return None
    of_image = np.repeat(np.arange(n_clusters), clusters.sizes)
    return csr_array((np.ones(n_images), (np.arange(n_images), of_image)), shape=(n_images, n_clusters))


def _correlations(
    n: FloatArray, x: FloatArray, xx: FloatArray, y: FloatArray, yy: FloatArray, xy: FloatArray
) -> FloatArray:
    """R by weighted sums; NaN where the feature or the rating does not vary."""
    of_x, of_y = xx - x**2 / n, yy - y**2 / n
    varies = (of_x > NOTHING_LEFT * xx) & (of_y > NOTHING_LEFT * yy)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (xy - x * y / n) / np.sqrt(np.where(varies, of_x * of_y, np.nan))
    return np.clip(r, -1.0, 1.0)

"""Bootstrap intervals of correlations, and how often they would be found again.

Images are drawn with replacement, or whole groups of them. A sample is a number for each image, how often it was drawn,
and r follows from sums of the feature, its square and its product with the rating, each weighted by these numbers:
products of sparse columns with the table of all samples. So only features whose relation was found are computed, and
no sample is ever put together. A partial r takes sums of products with each control, too: what these explain follows
from a matrix as small as their number for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz import ConfigError
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
MOST_CONTROLS = 20
"""Columns that are held constant, of each of which a matrix of features and samples is in memory."""


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
            step = max(1, FEATURES_AT_ONCE // (1 + max(one.basis.shape[1] for one in targets)))
            for start in range(0, block.shape[0], step):
                rows = slice(start, min(start + step, block.shape[0]))
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


def check_width(n_controls: int, place: str) -> None:
    """Raise `ConfigError` for too many columns that are held constant."""
    if n_controls > MOST_CONTROLS:
        raise ConfigError(
            f"{place}.bootstrap: {n_controls} columns of control (a category counts once for each of its values) are "
            f"too many for samples; the limit is {MOST_CONTROLS}"
        )


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


class _Sums(NamedTuple):
    """Weighted sums of values and of their squares, `[..., m]`, and what controls explain of them, `[..., m, k]`."""

    values: FloatArray
    squares: FloatArray
    explained: FloatArray

    def of(self, rows: IntArray) -> _Sums:
        """Those of some features."""
        return _Sums(*(one[rows] for one in self))


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
        self._basis = targets.basis[self._clusters.images]
        self._of_basis = [self._of_images(column) for column in self._basis.T]
        self._roots = [self._root(k) for k in (0, 1)] if self._of_basis else []
        self._of_targets: dict[int, tuple[_Sums, _Sums]] = {}

    def correlations(
        self, block: CSR, wanted: Mapping[int, IntArray]
    ) -> Iterator[tuple[int, tuple[FloatArray, FloatArray]]]:
        """R of some rows of a block `[n_features, n_items]` with each target that is wanted.

        In each sample `[n_rows, n_samples]`, and over all images but those of one group `[n_rows, n_groups]`.
        """
        from scipy.sparse import csr_array

        block = block[:, self._clusters.images].astype(np.float64)

        def times(rows: CSR, values: FloatArray) -> _Pair:
            product = csr_array((rows.data * values[rows.indices], rows.indices, rows.indptr), shape=rows.shape)
            return self._of_features(product)

        of_x, of_xx = self._of_features(block), self._of_features(block.multiply(block).tocsr())
        x = self._sums(of_x, of_xx, [times(block, column) for column in self._basis.T])
        for target, rows in wanted.items():
            y = self.targets.values[self._clusters.images, target]
            if target not in self._of_targets:
                products = [self._of_images(y * column) for column in self._basis.T]
                self._of_targets[target] = self._sums(self._of_images(y), self._of_images(y**2), products)
            of_xy = times(block[rows], y)
            by_sample, without_one = (
                _correlations(self._n[k], x[k].of(rows), self._of_targets[target][k], of_xy[k]) for k in (0, 1)
            )
            yield target, (by_sample, without_one)

    def _sums(self, values: _Pair, squares: _Pair, products: Sequence[_Pair]) -> tuple[_Sums, _Sums]:
        """Of a feature or target, `products` being those with each column of the controls."""
        found = []
        for k in (0, 1):
            explained = np.zeros((*values[k].shape, 0))
            if products:
                left = [
                    each[k] - of[k] * values[k] / self._n[k] for each, of in zip(products, self._of_basis, strict=True)
                ]
                explained = np.einsum("...mi,mij->...mj", np.stack(left, axis=-1), self._roots[k])
            found.append(_Sums(values[k], squares[k], explained))
        return found[0], found[1]

    def _root(self, k: int) -> FloatArray:
        """A root of the inverse of the controls' products in each sample, `[n_samples, n_controls, n_controls]`.

        A control that others explain in a sample, such as a category that was not drawn, is not counted twice.
        """
        n_controls = len(self._of_basis)
        products = np.empty((self._n[k].size, n_controls, n_controls))
        for i in range(n_controls):
            for j in range(i + 1):
                both = self._of_images(self._basis[:, i] * self._basis[:, j])[k]
                both = both - self._of_basis[i][k] * self._of_basis[j][k] / self._n[k]
                products[:, i, j] = products[:, j, i] = both
        squares, axes = np.linalg.eigh(products)
        kept = squares > NOTHING_LEFT * squares[:, -1:]
        return np.asarray(axes * np.where(kept, 1 / np.sqrt(np.where(kept, squares, 1.0)), 0.0)[:, None, :])

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


def _correlations(n: FloatArray, x: _Sums, y: _Sums, xy: FloatArray) -> FloatArray:
    """R by weighted sums; NaN where the feature or the rating does not vary, or the controls explain it."""
    of_x, of_y = (one.squares - one.values**2 / n - (one.explained**2).sum(axis=-1) for one in (x, y))
    varies = (of_x > NOTHING_LEFT * x.squares) & (of_y > NOTHING_LEFT * y.squares)
    left = xy - x.values * y.values / n - (x.explained * y.explained).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = left / np.sqrt(np.where(varies, of_x * of_y, np.nan))
    return np.asarray(np.clip(r, -1.0, 1.0))

"""Ratings prepared for correlation: centred, residualised on the controls, of unit length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from saeviz import finding_images

if TYPE_CHECKING:
    from saeviz import ScoreInput
    from saeviz.typing import FloatArray, IntArray, Mask


__all__ = ["Targets", "finding_images", "make_targets", "unit_columns"]

# A remainder of a rating or control below this share of its length is rounding error.
NOTHING_LEFT = 1e-10


@dataclass(frozen=True)
class Targets:
    """Ratings of exactly the same images.

    `rated` `[n_items]` marks the images. `values`, float64 `[n_items, len(names)]`, is zero on all others; each column
    has mean 0 and length 1, or is all 0 if the rating does not vary (after controls). `basis` `[n_items, n_controls]`
    spans the controls: orthonormal, with mean 0, and orthogonal to `values`. `ranked`: these come from ranks.
    """

    names: tuple[str, ...]
    rated: Mask
    values: FloatArray
    basis: FloatArray
    ranked: bool = False

    @property
    def n(self) -> int:
        """Number of images."""
        return int(np.count_nonzero(self.rated))

    def some(self, part: slice) -> Targets:
        """Some of them."""
        return replace(self, names=self.names[part], values=self.values[:, part])

    @property
    def df(self) -> int:
        """Degrees of freedom of a correlation with these targets."""
        return self.n - 2 - int(self.basis.shape[1])


def make_targets(
    data: ScoreInput,
    ratings: Sequence[str],
    images: Mask,
    *,
    controls: FloatArray | None = None,
    by_rank: bool = False,
    within: IntArray | None = None,
) -> Iterator[Targets]:
    """The ratings, grouped by the images that have them; the sums of features are the same within a group.

    `controls` is `[n_items, n]`, NaN where missing; such images are left out. `by_rank` replaces ratings by their
    ranks, with mean ranks for ties. `within` `[n_items]` are the groups of images whose means are held constant, too.
    """
    usable = images if controls is None else images & np.isfinite(controls).all(axis=1)
    for names, rated in _group_by_missing(data.ratings, ratings, usable):
        present = np.column_stack([np.asarray(data.ratings[name], dtype=np.float64)[rated] for name in names])
        if by_rank and present.size:
            from scipy.stats import rankdata

            present = rankdata(present, axis=0)
        held = [] if controls is None else [controls[rated]]
        held += [] if within is None else [within[rated, None] == np.unique(within[rated])]
        basis = _basis(np.hstack(held).astype(np.float64)) if held else np.zeros((len(present), 0))
        yield Targets(
            names, rated, _everywhere(unit_columns(present, basis), rated), _everywhere(basis, rated), by_rank
        )


def unit_columns(columns: FloatArray, basis: FloatArray) -> FloatArray:
    """Columns minus their mean and their projection on `basis`, scaled to length 1; exactly 0 if nothing remains."""
    if not len(columns):
        return columns
    largest = np.abs(columns).max(axis=0)
    scaled = np.ldexp(columns, -np.frexp(largest)[1])  # so that no square overflows; exact, unlike a division
    varies = scaled.max(axis=0) > scaled.min(axis=0)
    centred = np.where(varies, scaled - scaled.mean(axis=0), 0.0)
    centred -= centred.mean(axis=0)  # the rounding of a mean that is large beside what varies
    before = np.linalg.norm(centred, axis=0)
    for _ in range(2 if basis.shape[1] else 0):  # once more removes the rounding of the first time
        centred = centred - basis @ (basis.T @ centred)
    length = np.linalg.norm(centred, axis=0)
    left = length > NOTHING_LEFT * before
    return np.where(left, centred / np.where(left, length, 1.0), 0.0)


def _basis(controls: FloatArray) -> FloatArray:
    """An orthonormal basis of the span of these columns, without the constant; duplicate columns count once."""
    columns = unit_columns(controls, np.zeros((len(controls), 0)))
    if not columns.size:
        return np.zeros((len(controls), 0))
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, sizes > NOTHING_LEFT * max(sizes[0], 1.0)]


def _everywhere(values: FloatArray, rated: Mask) -> FloatArray:
    everywhere = np.zeros((len(rated), values.shape[1]))
    everywhere[rated] = values
    return everywhere


def _group_by_missing(
    values: Mapping[str, FloatArray], names: Sequence[str], usable: Mask
) -> Iterator[tuple[tuple[str, ...], Mask]]:
    groups: dict[bytes, tuple[list[str], Mask]] = {}
    for name in names:
        rated = np.isfinite(values[name]) & usable
        groups.setdefault(rated.tobytes(), ([], rated))[0].append(name)
    for together, rated in groups.values():
        yield tuple(together), rated

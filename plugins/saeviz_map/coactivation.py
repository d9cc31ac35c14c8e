"""Principal components of features as points whose coordinates are their activations on every image.

A feature's activations are centred and at length 1, so that the distance of two features follows from Pearson's
correlation: features that fire together are near each other, however strongly or often they fire. A randomised
truncated SVD (Halko, Martinsson & Tropp 2011) finds the components from passes over the images; no dense matrix of
features by images is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz import ScoreInput

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, Mask

SPARE = 14
"""Components found in addition to those wanted, which makes the wanted ones exact sooner."""
POWERS = 8
"""Multiplications with the points and back. Their number is fixed, so that rounding does not decide when to stop."""
NEGLIGIBLE = 1e-8
"""Share of the sum of squares below which rounding would decide a variance."""


@dataclass(frozen=True)
class Points:
    """The features of a space as points: activation times `weight` less `shift`, each `[n_features]`.

    Both are 0 for the features that have no place, because they never fire or never change.
    """

    data: ScoreInput
    placed: Mask
    weight: FloatArray
    shift: FloatArray

    def times(self, vectors: FloatArray) -> FloatArray:
        """`[n_items, k]`: the product of `vectors`, `[n_features, k]`, with every image."""
        weighted = self.weight[:, None] * vectors
        parts = [matrix @ weighted for _, matrix in self.data.chunks()]
        return np.concatenate(parts) - self.shift @ vectors

    def back(self, images: FloatArray) -> FloatArray:
        """`[n_features, k]`: the product of `images`, `[n_items, k]`, with every feature."""
        total = np.zeros((self.weight.size, images.shape[1]))
        for rows, matrix in self.data.chunks():
            total += matrix.T @ images[rows]
        return self.weight[:, None] * total - np.outer(self.shift, images.sum(axis=0))


def points_of(data: ScoreInput) -> Points:
    """The points of a space; one pass over the images."""
    squares = np.zeros(data.space.n_features)
    for _, matrix in data.chunks():
        squares += np.bincount(matrix.indices, np.square(matrix.data, dtype=np.float64), squares.size)
    statistics = data.features.statistics
    variation = squares - data.n_items * statistics.mean**2
    placed = (statistics.n_active > 0) & (variation > NEGLIGIBLE * squares)
    weight = np.zeros(squares.size)
    weight[placed] = 1 / np.sqrt(variation[placed])
    return Points(data, placed, weight, weight * statistics.mean)


class Components(NamedTuple):
    """Coordinates of features `[n_features, k]` and of images `[n_items, k]`; each component's `share` of variance."""

    features: FloatArray
    images: FloatArray
    share: FloatArray


def principal_components(spaces: Sequence[Points], n_components: int, seed: int) -> Components:
    """The coordinates of the features of all spaces and of their images in `<= n_components`.

    Those of an image are what its standardised features add up to, about the mean of all images. Rows of features
    without a place are 0. Memory is a few times `n_features + n_items` times the components.
    """
    placed = np.concatenate([points.placed for points in spaces])
    n_items = spaces[0].data.n_items
    if not placed.any():
        return Components(np.zeros((placed.size, 0)), np.zeros((n_items, 0)), np.zeros(0))
    width = min(n_components + SPARE, int(placed.sum()), n_items)
    basis = _centred(np.random.default_rng(seed).normal(size=(placed.size, width)), placed)
    for _ in range(POWERS):
        images = _times(spaces, basis)
        back = _centred(np.concatenate([points.back(images) for points in spaces]), placed)
        basis = _centred(np.linalg.qr(back)[0], placed)
    images = _times(spaces, basis)
    squares, turn = np.linalg.eigh(images.T @ images)
    order = np.argsort(-squares)[:n_components]
    squares = np.maximum(squares[order], 0)
    features = basis @ turn[:, order] * np.sqrt(squares)
    return Components(features, images @ turn[:, order], squares / _variance(spaces))


def _times(spaces: Sequence[Points], basis: FloatArray) -> FloatArray:
    starts = np.cumsum([points.weight.size for points in spaces])[:-1]
    parts = np.split(basis, starts)
    return np.asarray(sum(points.times(part) for points, part in zip(spaces, parts, strict=True)))


def _centred(vectors: FloatArray, placed: Mask) -> FloatArray:
    """The vectors less their mean over the placed features, because components are about the mean of the points."""
    own = np.where(placed[:, None], vectors, 0)
    return np.asarray(own - np.outer(placed, own.sum(axis=0) / placed.sum()))


def _variance(spaces: Sequence[Points]) -> float:
    """The sum of squared distances of all points from their mean."""
    n_placed = sum(int(points.placed.sum()) for points in spaces)
    total = sum(points.times(points.placed[:, None].astype(float)) for points in spaces)
    return max(n_placed - float(np.square(total).sum()) / n_placed, np.finfo(float).tiny)

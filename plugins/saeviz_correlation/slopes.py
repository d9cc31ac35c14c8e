"""How much the slope of a regression on a feature changes with a moderator, for many features at once.

A linear model of a rating has a constant, main effects and controls, the feature, and the feature times the moderator.
By the theorem of Frisch, Waugh and Lovell the coefficient of the product is that of what is left of it after everything
else is taken out. Its variance is the usual one, or the sandwich CR2 of Bell and McCaffrey (2002) with Satterthwaite's
degrees of freedom (Pustejovsky and Tipton 2018) under the working model of independent images; of single images that is
HC2. U being an orthonormal basis of the model and u its last vector, the product, CR2 weighs a cluster's residuals by
(I - UU')^(-1/2) u, which is U (I - U'U)^(-1/2) times the last unit vector: matrices as small as the model.

Differences between two ratings are often skewed, and then the sandwich is too small where a rare feature happens to
fire on images with alike differences. Where two ratings are compared, p is therefore at least that of the usual errors.
The product of a feature and a moderator needs no such care: it has images on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz_correlation.columns import products
from saeviz_correlation.permutation import WORKERS

if TYPE_CHECKING:
    from saeviz.typing import CSR, FloatArray, IntArray, Mask

AT_ONCE = 1 << 18
"""Features times images, and features times clusters times products of the model's vectors, at once."""

NOTHING_LEFT = 1e-10
"""Below this share of a feature's variation, what is left of it or of the product is rounding."""

ALL_IN_ONE = 1e-8
"""A vector of the model with less than this of its square outside a cluster lies within it."""


@dataclass(frozen=True)
class Model:
    """The part of the model that features share, over some images.

    `images` are their rows, cluster by cluster; `starts` says where each cluster begins, None for usual errors.
    `basis` `[n, k]` is orthonormal and contains the constant. `moderator` `[n]` is 0 where slopes are called low and 1
    where they are called high; without one, there are two ratings instead, whose slopes are compared.
    """

    images: IntArray
    starts: IntArray | None
    basis: FloatArray
    moderator: FloatArray | None

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return int(self.basis.shape[1]) + (1 if self.moderator is None else 2)


class Slopes(NamedTuple):
    """By feature and rating, `[n_features, n_ratings]`: the slope where the moderator is low, and where it is high.

    They are in the unit of the rating per standard deviation of the feature. `p`, `half` the 95 % interval's length and
    `df` are of their difference. NaN where the feature does not vary, where it does so on one side of the moderator
    only, or within one cluster only.
    """

    low: FloatArray
    high: FloatArray
    p: FloatArray
    half: FloatArray
    df: FloatArray


def slopes(block: CSR, model: Model, ratings: FloatArray) -> Slopes:
    """Of the features of a block, CSR `[n_features, n_items]`, on `ratings` `[n, n_ratings]`, in the order of images.

    Without a moderator, `ratings` are a low one and a high one, and there is one result.
    """
    n_features, n = block.shape[0], model.images.size
    n_clusters = 0 if model.starts is None or model.starts.size == n else model.starts.size
    step = max(1, AT_ONCE // max(1, n, n_clusters * model.size**2))
    parts = [slice(start, min(start + step, n_features)) for start in range(0, n_features, step)]
    left = _without(np.ascontiguousarray(ratings.T), model.basis).T
    explained = np.linalg.norm(left, axis=0) <= NOTHING_LEFT * np.linalg.norm(ratings, axis=0)
    ratings = np.where(explained, np.nan, left)  # of one that main effects and controls explain entirely

    def of_part(features: slice) -> Slopes:
        values = np.ascontiguousarray(block[features].toarray()[:, model.images], dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):  # where nothing varies
            return _of_features(values, model, ratings)

    with ThreadPoolExecutor(WORKERS) as pool:  # NumPy lets other threads work
        results = list(pool.map(of_part, parts))
    if not results:
        nothing = np.zeros((0, 1 if model.moderator is None else ratings.shape[1]))
        return Slopes(nothing, nothing, nothing, nothing, nothing)
    return Slopes(*(np.concatenate(values) for values in zip(*results, strict=True)))


def _of_features(values: FloatArray, model: Model, ratings: FloatArray) -> Slopes:
    values -= values.mean(axis=1, keepdims=True)
    spread = values.std(axis=1, keepdims=True)
    values /= spread
    feature, length, varies = _left(values, model.basis, [])
    if model.moderator is None:
        of_each = products(feature, ratings) / length[:, None]
        low, high, last = of_each[:, :1], of_each[:, 1:], length
        vectors, ratings = [feature], ratings[:, 1:] - ratings[:, :1]
    else:
        product, last, differs = _left(values * model.moderator, model.basis, [feature])
        varies &= differs
        difference = products(product, ratings) / last[:, None]
        overlap = np.einsum("fn,fn->f", feature, values * model.moderator)[:, None]
        low = (products(feature, ratings) - difference * overlap) / length[:, None]
        high = low + difference
        vectors = [feature, product]
    times_ratings = [products(vector, ratings) for vector in vectors]
    variance, df = _errors(vectors, times_ratings, model, ratings)
    p, half = _inference(times_ratings[-1], variance, df)
    if model.moderator is None and model.starts is not None:
        p, half = map(
            np.maximum, (p, half), _inference(times_ratings[-1], *_usual_errors(times_ratings, model, ratings))
        )
    columns = low, high, p, half / last[:, None], np.broadcast_to(df, p.shape)
    return Slopes(*(np.where(varies[:, None], each, np.nan) for each in columns))


def _inference(value: FloatArray, variance: FloatArray, df: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The two-sided p of a value by Student's t, and half the length of its 95 % interval."""
    from scipy.special import betainc, stdtrit

    return betainc(df / 2, 0.5, df / (df + value**2 / variance)), stdtrit(df, 0.975) * np.sqrt(variance)


def _left(values: FloatArray, basis: FloatArray, others: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray, Mask]:
    """Of each row what is left after the basis and its row of each of the others: of length 1, its length, if any."""
    before = np.linalg.norm(values, axis=1)
    for _ in range(2):  # once more removes the rounding of the first time
        values = _without(values, basis)
        for other in others:
            values -= np.einsum("fn,fn->f", values, other)[:, None] * other
    length = np.linalg.norm(values, axis=1)
    varies = length**2 > NOTHING_LEFT * np.maximum(before**2, values.shape[1] * NOTHING_LEFT)
    length = np.where(varies, length, 1.0)
    return np.where(varies[:, None], values / length[:, None], 0.0), length, varies


def _without(values: FloatArray, basis: FloatArray) -> FloatArray:
    """Of each row what is left after the basis, to the last bit the same whatever other rows there are."""
    left = values.copy()
    for vector, share in zip(basis.T, products(values, basis).T, strict=True):
        left -= share[:, None] * vector
    return left


def _errors(
    vectors: Sequence[FloatArray], times_ratings: Sequence[FloatArray], model: Model, ratings: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The variance of the last vector times each rating, and its degrees of freedom, `[n_features, 1 or n_ratings]`."""
    n = model.images.size
    if model.starts is None or n <= model.size:
        return _usual_errors(times_ratings, model, ratings)
    if model.starts.size == n:
        return _of_images(vectors, times_ratings, model.basis, ratings)
    return _of_clusters(vectors, times_ratings, model.basis, ratings, model.starts)


def _usual_errors(
    times_ratings: Sequence[FloatArray], model: Model, ratings: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """As `_errors`, for independent images and the same spread everywhere."""
    left = model.images.size - model.size
    if left < 1:
        nothing = np.full(times_ratings[0].shape, np.nan)
        return nothing, nothing
    residual = (ratings**2).sum(axis=0) - sum(product**2 for product in times_ratings)
    return np.maximum(residual, 0) / left, np.full((1, 1), float(left))


def _of_images(
    vectors: Sequence[FloatArray], times_ratings: Sequence[FloatArray], basis: FloatArray, ratings: FloatArray
) -> tuple[FloatArray, FloatArray]:
    leverage = sum(vector**2 for vector in vectors) + (basis**2).sum(axis=1)
    outside = 1 - leverage
    last = vectors[-1]
    alone = outside < ALL_IN_ONE  # an image that the model fits exactly, whatever its rating
    known = ~(alone & (last**2 > ALL_IN_ONE)).any(axis=1)
    weight = np.where(alone, 0.0, last / np.sqrt(np.where(alone, 1.0, outside)))
    squares = weight**2
    squared = (squares**2 * (1 - 2 * leverage)).sum(axis=1)
    for place, column in enumerate(basis.T):
        squared += products(squares, (column**2)[:, None])[:, 0] ** 2
        for other in basis.T[place + 1 :]:
            squared += 2 * products(squares, (column * other)[:, None])[:, 0] ** 2
    for place, vector in enumerate(vectors):
        squared += 2 * np.square(products(squares * vector, basis)).sum(axis=1)
        for other in vectors[place:]:
            squared += (1 if other is vector else 2) * np.einsum("fn,fn,fn->f", squares, vector, other) ** 2
    variance = np.empty(times_ratings[0].shape)
    for place, rating in enumerate(ratings.T):
        residual = rating - sum(
            product[:, place, None] * vector for product, vector in zip(times_ratings, vectors, strict=True)
        )
        variance[:, place] = np.square(weight * residual).sum(axis=1)
    return variance, np.where(known, 1 / squared, np.nan)[:, None]


def _of_clusters(
    vectors: Sequence[FloatArray],
    times_ratings: Sequence[FloatArray],
    basis: FloatArray,
    ratings: FloatArray,
    starts: IntArray,
) -> tuple[FloatArray, FloatArray]:
    n_features, k, size = len(vectors[0]), basis.shape[1], basis.shape[1] + len(vectors)

    def sums(values: FloatArray) -> FloatArray:
        return np.add.reduceat(values, starts, axis=-1)

    columns = [*basis.T, *vectors]
    inner = np.empty((n_features, starts.size, size, size))
    for i in range(size):
        for j in range(i, size):
            inner[:, :, i, j] = inner[:, :, j, i] = sums(columns[i] * columns[j])
    inside, axes = np.linalg.eigh(inner)
    outside, of_last = 1 - inside, axes[:, :, -1, :]
    within = outside < ALL_IN_ONE  # the model fits this part of the cluster's ratings exactly, whatever they are
    known = ~(within & (of_last**2 > ALL_IN_ONE)).any(axis=(1, 2))
    scale = np.where(within, 0.0, of_last / np.sqrt(np.where(within, 1.0, outside)))
    weight = np.einsum("fgij,fgj->fgi", axes, scale)
    inner_weight = np.einsum("fgij,fgj->fgi", inner, weight)
    length = np.einsum("fgi,fgi->fg", weight, inner_weight)
    squared = (length * (length - 2 * np.square(inner_weight).sum(axis=2))).sum(axis=1)
    squared += np.square(np.swapaxes(inner_weight, 1, 2) @ inner_weight).sum(axis=(1, 2))
    variance = np.empty(times_ratings[0].shape)
    for place, rating in enumerate(ratings.T):
        of_rating = sum(weight[:, :, i] * sums(column * rating) for i, column in enumerate(columns))
        fitted = sum(inner_weight[:, :, k + i] * product[:, place, None] for i, product in enumerate(times_ratings))
        variance[:, place] = np.square(of_rating - fitted).sum(axis=1)
    return variance, np.where(known, 1 / squared, np.nan)[:, None]

"""Lasso along a path of penalties over tens of thousands of sparse features; features left out are checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeviz import TargetKind
from saeviz_prediction.penalized import coordinate_descent, expit, logistic, logit

if TYPE_CHECKING:
    from scipy.sparse import csc_array

    from saeviz.typing import FloatArray, IntArray


PENALTIES = np.geomspace(1.0, 1e-2, 20)
"""The penalties, as shares of the smallest one that keeps no feature."""


@dataclass(frozen=True)
class Step:
    """One penalty of a path: the features kept, as columns of the matrix, their standardised weights, the intercept."""

    kept: IntArray
    weights: FloatArray
    intercept: float


class Images:
    """Images to fit: sparse features, standardised by the mean and deviation of these images without centring them.

    A rating of the kind `binary` is fitted by its chance to be 1, whose logit is linear; any other is standardised.
    """

    def __init__(self, features: csc_array, ratings: FloatArray, min_active: int, kind: TargetKind) -> None:
        n = len(ratings)
        self.features = features
        total = np.asarray(features.sum(axis=0), dtype=np.float64)
        squares = np.asarray(features.multiply(features).sum(axis=0), dtype=np.float64)
        self.mean = total / n
        variation = squares / n - self.mean**2
        active = np.diff(features.indptr)
        self.considered = (active >= min_active) & (variation > 1e-12 * squares / n)
        self.deviation = np.where(self.considered, np.sqrt(np.maximum(variation, 0.0)), np.inf)
        self.kind = kind
        self.rating_mean = float(ratings.mean())
        self.rating_deviation = 1.0 if kind == "binary" else float(ratings.std()) or 1.0
        self.ratings = (ratings - self.rating_mean) / self.rating_deviation

    def correlations(self, residual: FloatArray) -> FloatArray:
        """Mean product of each standardised feature with a residual that adds up to zero; 0 for those left out."""
        products = self.features.T @ residual - self.mean * residual.sum()
        return np.asarray(products / self.deviation) / len(residual)

    def standardised(self, columns: IntArray) -> FloatArray:
        """Some of the features as a dense matrix `[n, k]`."""
        dense = np.asfortranarray(self.features[:, columns].toarray(), dtype=np.float64)
        dense -= self.mean[columns]
        dense /= self.deviation[columns]
        return dense

    def predict(self, features: csc_array, step: Step) -> FloatArray:
        """Predicted ratings of other images, with features `[n, n_features]`."""
        slopes = step.weights / self.deviation[step.kept]
        products = features[:, step.kept] @ slopes - float(self.mean[step.kept] @ slopes)
        return self.expected(products + step.intercept)

    def expected(self, predictor: FloatArray) -> FloatArray:
        """The rating that is expected where the linear predictor has these values."""
        if self.kind == "binary":
            return np.asarray(expit(predictor))
        return np.asarray(self.rating_mean + self.rating_deviation * predictor)

    def residual(self, predictor: FloatArray) -> FloatArray:
        """What is left of `ratings` where the linear predictor has these values."""
        if self.kind == "binary":
            return np.asarray(self.ratings + self.rating_mean - expit(predictor))
        return self.ratings - predictor

    @property
    def nothing(self) -> Step:
        """The fit that keeps no feature."""
        return Step(np.zeros(0, np.int64), np.zeros(0), logit(self.rating_mean) if self.kind == "binary" else 0.0)


def path(images: Images) -> Iterator[Step]:
    """A step for each of `PENALTIES`; ends early where more than half as many features as images are kept.

    Each step solves for the features that the sequential strong rule lets through (Tibshirani et al. 2012), then checks
    the optimality of all others and adds those that violate it, until none does.
    """
    n = len(images.ratings)
    correlation = images.correlations(images.ratings)
    largest = float(np.abs(correlation).max(initial=0.0))
    step = images.nothing
    if largest == 0:
        yield from [step] * PENALTIES.size
        return
    tried = step.kept
    before = largest
    for penalty in PENALTIES * largest:
        tried = np.union1d(tried, np.flatnonzero(np.abs(correlation) >= 2 * penalty - before))
        while True:
            step, residual = _solve(images, tried, penalty, step)
            correlation = images.correlations(residual)
            violating = np.setdiff1d(np.flatnonzero(np.abs(correlation) > penalty * (1 + 1e-6)), tried)
            if not violating.size:
                break
            tried = np.union1d(tried, violating)
        yield step
        if step.kept.size > n / 2:
            return
        tried, before = step.kept, penalty


def _solve(images: Images, columns: IntArray, penalty: float, start: Step) -> tuple[Step, FloatArray]:
    """The lasso over some features, starting from the weights of another step, and its residual."""
    dense = images.standardised(columns)
    initial = np.zeros(columns.size)
    initial[np.searchsorted(columns, start.kept)] = start.weights
    if images.kind == "binary":
        found, intercept = logistic(dense, images.ratings + images.rating_mean, penalty, initial, start.intercept)
    else:
        found, intercept = coordinate_descent(dense, images.ratings, penalty, initial), 0.0
    kept = found != 0
    return Step(columns[kept], found[kept], intercept), images.residual(dense[:, kept] @ found[kept] + intercept)

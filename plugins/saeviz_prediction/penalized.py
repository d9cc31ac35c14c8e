"""The lasso of a few standardised features, linear and logistic."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


FLATTEST = 1e-5
"""The smallest curvature of the likelihood of an image that is reckoned with."""

STEPS, EXACT = 100, 1e-9


def expit(values: FloatArray) -> FloatArray:
    """The chance that has this logit."""
    from scipy import special

    return np.asarray(special.expit(values))


def logit(chance: float) -> float:
    """The logit of a chance, infinite for 0 and 1."""
    from scipy import special

    return float(special.logit(chance))


def coordinate_descent(features: FloatArray, values: FloatArray, penalty: float, start: FloatArray) -> FloatArray:
    """The weights with the least mean squared error / 2 + penalty times the sum of their sizes; no intercept."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lasso_path

    if not start.size:
        return start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, weights, _ = lasso_path(
            features,
            values,
            alphas=[penalty],
            precompute=np.asfortranarray(features.T @ features),
            Xy=features.T @ values,
            coef_init=start,
            tol=EXACT,
            max_iter=5000,
        )
    return np.asarray(weights[:, 0])


def logistic(
    features: FloatArray, has: FloatArray, penalty: float, start: FloatArray, intercept: float
) -> tuple[FloatArray, float]:
    """The weights and the intercept with the least mean deviance / 2 + penalty times the sum of the weights' sizes.

    `has` is 1 or 0, and both occur. Newton's method: each step is a lasso with the curvature of the likelihood as
    weights of the images, and goes half as far as often as the loss would rise.
    """
    weights, before = start, _loss(features, has, penalty, start, intercept)
    for _ in range(STEPS):
        predictor = features @ weights + intercept
        chance = expit(predictor)
        curvature = np.maximum(chance * (1 - chance), FLATTEST)
        share = curvature / curvature.sum()
        working = predictor + (has - chance) / curvature
        centre, middle = share @ features, float(share @ working)
        root = np.sqrt(curvature)
        scaled = np.asfortranarray((features - centre) * root[:, None])
        new = coordinate_descent(scaled, (working - middle) * root, penalty, weights)
        change, shift = new - weights, middle - float(centre @ new) - intercept
        size, after = 1.0, _loss(features, has, penalty, new, intercept + shift)
        while after > before and size > EXACT:
            size /= 2
            after = _loss(features, has, penalty, weights + size * change, intercept + size * shift)
        if after >= before - EXACT * before:
            return (weights, intercept) if after > before else (weights + size * change, intercept + size * shift)
        weights, intercept, before = weights + size * change, intercept + size * shift, after
    return weights, intercept


def _loss(features: FloatArray, has: FloatArray, penalty: float, weights: FloatArray, intercept: float) -> float:
    predictor = features @ weights + intercept
    return float(np.mean(np.logaddexp(0, predictor) - has * predictor) + penalty * np.abs(weights).sum())

"""Logistic ridge regression of a rating that is 1 or 0, from the same spectrum as the linear one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeviz_prediction.penalized import expit
from saeviz_prediction.ridge import Spectrum

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


def chances(spectrum: Spectrum, has: FloatArray, penalty: float) -> FloatArray:
    """The chance that each of the other images has it, from which of the fitted ones have it, 1 or 0."""
    share = float(has.mean())
    if not 0 < share < 1:
        return np.full(len(spectrum.projected), share)
    coefficients, intercept = logistic_fit(spectrum, has, penalty)
    return expit(intercept + spectrum.projected @ coefficients)


def logistic_fit(spectrum: Spectrum, has: FloatArray, penalty: float) -> tuple[FloatArray, float]:
    """What the inner products in `spectrum.projected` are multiplied by, `[k]`, and the log odds of the mean image.

    `penalty` is that of the linear fit. It is multiplied by share (1 - share), the curvature of the likelihood where
    nothing is known: then the first step of Newton's method is the linear fit. Both 1 and 0 must occur.
    """
    share = float(has.mean())
    if not spectrum.squares.size:
        return np.zeros(0), float(np.log(share / (1 - share)))
    from sklearn.linear_model import LogisticRegression

    sizes = np.sqrt(spectrum.squares)
    model = LogisticRegression(C=1 / (penalty * share * (1 - share)), solver="newton-cg", tol=1e-8, max_iter=1000)
    model.fit(spectrum.vectors * sizes, has > 0.5)
    return np.asarray(model.coef_[0] / sizes), float(model.intercept_[0])

"""Logistic ridge regression of a rating that is 1 or 0, from the same spectrum as the linear one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeviz_prediction.ridge import Spectrum

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


def chances(spectrum: Spectrum, has: FloatArray, penalty: float) -> FloatArray:
    """The chance that each of the other images has it, from which of the fitted ones have it, 1 or 0.

    `penalty` is that of the linear fit. It is multiplied by share (1 - share), the curvature of the likelihood where
    nothing is known: then the first step of Newton's method is the linear fit.
    """
    share = float(has.mean())
    if not 0 < share < 1 or not spectrum.squares.size:
        return np.full(len(spectrum.projected), share)
    from sklearn.linear_model import LogisticRegression

    sizes = np.sqrt(spectrum.squares)
    model = LogisticRegression(C=1 / (penalty * share * (1 - share)), solver="newton-cg", tol=1e-8, max_iter=1000)
    model.fit(spectrum.vectors * sizes, has > 0.5)
    return np.asarray(model.predict_proba(spectrum.projected / sizes)[:, 1])

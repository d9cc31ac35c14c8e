"""The ridge model of each rating, fitted to all images that have it: what a feature adds to the prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from saeviz_prediction.logistic import logistic_fit
from saeviz_prediction.ridge import Spectrum, spectrum_of_gram
from saeviz_prediction.sample import Rated

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

MOST_RATINGS = 100
"""Ratings of a run beyond which no weights of ridge are kept, and of lasso only those that are not 0."""


class Model(NamedTuple):
    """What is predicted for features x is `intercept` + the sum over `rows` of x's inner product with theirs times
    `shares`: the weight of a feature is the sum of its activations on these images times `shares`. For a binary rating
    this is the log odds.
    """

    rated: Rated
    shares: FloatArray
    intercept: float

    @property
    def rows(self) -> IntArray:
        """The images that were fitted."""
        return self.rated.rows


def models(usable: Sequence[Rated], products: FloatArray) -> Iterator[Model]:
    """A model of each rating; ratings of the same images share what is costly."""
    nobody, spectra = np.zeros(0, dtype=np.int64), dict[bytes, Spectrum]()
    for rated in usable:
        key = rated.rows.tobytes()
        if key not in spectra:
            spectra[key] = spectrum_of_gram(products, rated.rows, nobody)
        spectrum, values = spectra[key], rated.values
        penalty = float(spectrum.best_penalties(values[:, None], rated.groups)[0])
        if rated.kind == "binary":
            coefficients, centre = logistic_fit(spectrum, values, penalty)
        else:
            coefficients, centre = spectrum.coefficients(values, penalty), float(values.mean())
        shares = spectrum.vectors @ coefficients
        of_mean = float((products[np.ix_(rated.rows, rated.rows)] @ shares).mean())
        yield Model(rated, shares, centre - of_mean)

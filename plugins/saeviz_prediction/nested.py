"""Lasso with its penalty chosen inside the images that are fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saeviz_prediction.folds import Accuracy, fold_rows, others
from saeviz_prediction.lasso import PENALTIES, Images, path

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csc_array

    FloatArray = NDArray[np.float64]


def nested_lasso(
    features: csc_array, ratings: FloatArray, folds: int, min_active: int
) -> tuple[Accuracy, FloatArray, int]:
    """Accuracy on images left out; standardised weights `[n_features]` of a fit to all; how many are not 0.

    The inner folds of a fold are the other folds, so that each fit without two of them serves both. The fit to all
    images takes the penalty that was best over the folds.
    """
    tests = fold_rows(len(ratings), folds)
    rows = features.tocsr()

    def predict(*left_out: int) -> list[FloatArray]:
        """What is predicted of these folds `[n_test, n_penalties]` from all others."""
        train = others(len(ratings), *(tests[fold] for fold in left_out))
        images = Images(rows[train].tocsc(), ratings[train], min_active)
        steps = list(path(images))
        predicted = []
        for fold in left_out:
            new = np.full((tests[fold].size, PENALTIES.size), np.nan)
            columns = rows[tests[fold]].tocsc()
            for number, step in enumerate(steps):
                new[:, number] = images.predict(columns, step)
            predicted.append(new)
        return predicted

    def errors(fold: int, predicted: FloatArray) -> FloatArray:
        """By penalty; infinite where the path had ended."""
        squares = np.sum((predicted - ratings[tests[fold], None]) ** 2, axis=0)
        return np.where(np.isnan(squares), np.inf, squares)

    inner = np.zeros((folds, PENALTIES.size))
    for one in range(folds):
        for other in range(one):
            of_one, of_other = predict(one, other)
            inner[other] += errors(one, of_one)
            inner[one] += errors(other, of_other)
    accuracy, outer = Accuracy(), np.zeros(PENALTIES.size)
    for fold, test in enumerate(tests):
        (predicted,) = predict(fold)
        outer += errors(fold, predicted)
        best = np.argmin(np.where(np.isnan(predicted[0]), np.inf, inner[fold]))
        accuracy.add(ratings[test], predicted[:, best], float(ratings[others(len(ratings), test)].mean()))
    images = Images(features, ratings, min_active)
    steps = list(path(images))
    step = steps[min(int(np.argmin(outer)), len(steps) - 1)]
    weights = np.where(images.considered, 0.0, np.nan)
    weights[step.kept] = step.weights
    return accuracy, weights, step.kept.size

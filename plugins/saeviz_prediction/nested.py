"""Lasso whose penalty is chosen by cross-validation within the training images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from saeviz import target_kind
from saeviz_prediction.folds import Accuracy, others
from saeviz_prediction.lasso import PENALTIES, Images, Step, path

if TYPE_CHECKING:
    from scipy.sparse import csc_array

    from saeviz.typing import FloatArray, IntArray


PATIENCE = 3
"""A path ends if the error on held-out images has not decreased for this many penalties."""


def nested_lasso(
    features: csc_array, ratings: FloatArray, tests: Sequence[IntArray], min_active: int
) -> tuple[Accuracy, FloatArray, int]:
    """Accuracy on held-out images; standardised weights `[n_features]` of a fit to all; how many are not 0.

    `tests` are the rows of each fold. The lasso of a binary rating is logistic.

    The inner folds of a fold are the other folds, so that each fit without two of them serves both. The fit to all
    images takes the penalty that was best over all inner folds.
    """
    rows, kind = features.tocsr(), target_kind(ratings)

    def fit(left_out: IntArray) -> tuple[Images, IntArray]:
        train = others(len(ratings), left_out)
        return Images(rows[train].tocsc(), ratings[train], min_active, kind), train

    inner = np.zeros((len(tests), PENALTIES.size))
    for one in range(len(tests)):
        for other in range(one):
            images, _ = fit(np.concatenate([tests[one], tests[other]]))
            errors = _errors(images, [(rows[tests[fold]].tocsc(), ratings[tests[fold]]) for fold in (one, other)])
            inner[[other, one]] += errors
    accuracy = Accuracy(kind)
    for fold, test in enumerate(tests):
        images, train = fit(test)
        step = _step(images, int(np.argmin(inner[fold])))
        accuracy.add(ratings[test], images.predict(rows[test].tocsc(), step), float(ratings[train].mean()))
    images = Images(features, ratings, min_active, kind)
    step = _step(images, int(np.argmin(inner.sum(axis=0))))
    weights = np.where(images.considered, 0.0, np.nan)
    weights[step.kept] = step.weights
    return accuracy, weights, step.kept.size


def _errors(images: Images, left_out: Sequence[tuple[csc_array, FloatArray]]) -> FloatArray:
    """Squared error `[n_left_out, n_penalties]` on folds that were not fitted; infinite where the path had ended.

    A path ends for each fold separately: the penalty of one fold is tested on the other, which must not affect it.
    """
    errors = np.full((len(left_out), PENALTIES.size), np.inf)
    for number, step in enumerate(path(images)):
        waiting = np.flatnonzero(number - np.argmin(errors, axis=1) <= PATIENCE)
        if not waiting.size:
            break
        for fold in waiting.tolist():
            new, truth = left_out[fold]
            errors[fold, number] = np.sum((images.predict(new, step) - truth) ** 2)
    return errors


def _step(images: Images, number: int) -> Step:
    """The step with this number, or the last one if the path ended earlier."""
    return list(islice(path(images), number + 1))[-1]

"""Processor time of each part of the scorer `prediction`, one rating of 5,000 images with 49,152 features.

    OMP_NUM_THREADS=1 python benchmarks/prediction.py

Of the made-up features 800 fire on each image, and 100 of all add to the rating. The baseline of ridge is what it
cannot do without: the eigenvalues and eigenvectors of the inner products of the fitted images, for each fold and, for
weights that predict other images, of all images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from time import process_time
from typing import TYPE_CHECKING, Any

import made_up
import numpy as np

import saeviz
from saeviz_prediction import PredictionOptions
from saeviz_prediction.folds import others
from saeviz_prediction.model import models
from saeviz_prediction.nested import nested_lasso
from saeviz_prediction.ridge import gram, spectrum_of_gram
from saeviz_prediction.sample import Rated, draw_sample, features_of

if TYPE_CHECKING:
    from saeviz.typing import FloatArray

N_RELATED = 100


def timed(name: str, work: Callable[[], Any], baseline: float | None = None) -> tuple[Any, float]:
    """What the work gives, and its processor time, which is printed."""
    start = process_time()
    result = work()
    seconds = process_time() - start
    ratio = "" if baseline is None else f"  {seconds / baseline:.2f} times its eigenvectors"
    print(f"{name:<40}{seconds:>7.1f} s{ratio}", flush=True)
    return result, seconds


def folds(rated: Rated, products: FloatArray) -> None:
    """Ridge out of fold, its penalty chosen on the fitted images."""
    for test in rated.folds:
        train = others(rated.rows.size, test)
        fitted = spectrum_of_gram(products, rated.rows[train], rated.rows[test])
        fitted.predict(rated.values[train], float(fitted.best_penalties(rated.values[train, None], None)[0]))


def main() -> None:
    """Print a line for each part."""
    data = made_up.score_input()
    features = data.features.matrix()
    random = np.random.default_rng(1)
    related = random.choice(made_up.N_FEATURES, N_RELATED, replace=False)
    values = np.asarray(features[:, related].sum(axis=1)).ravel()
    data = replace(data, ratings={"liking": values + values.std() * random.normal(size=values.size)})
    sample = draw_sample(data, ["liking"], PredictionOptions(raw_model=False), saeviz.Context())
    [rated] = sample.rated(5)[0]
    columns = features_of(data, sample.rows)
    products, _ = timed("inner products", lambda: gram(columns))
    n = rated.rows.size - rated.folds[0].size
    _, one = timed(f"eigenvectors of {n} images", lambda: np.linalg.eigh(products[:n, :n]))
    _, of_all = timed(f"eigenvectors of {rated.rows.size} images", lambda: np.linalg.eigh(products))
    timed("ridge, out of fold", lambda: folds(rated, products), one * len(rated.folds))
    timed("ridge, weights for other images", lambda: list(models([rated], products)), of_all)
    timed("lasso", lambda: nested_lasso(columns.tocsc()[rated.rows], rated.values, rated.folds, 10))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()

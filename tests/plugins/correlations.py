"""Features and ratings for the tests of the correlation scorers, and what a run makes of them."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

import saeviz
from saeviz import FeatureBatch, FeatureSpace, FeatureStream, ScoreColumn, ScoreInput
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.scorer import PearsonBH

ACTIVE_COUNTS = (0, 1, 2, 9, 10, 11)


def make_input(dense, ratings, size=64, layer=7, metadata=None, ids=None, groups=None):
    dense = np.asarray(dense, dtype=np.float32)
    space = FeatureSpace(layer, "cls", dense.shape[1])
    ids = ids or tuple(f"image {i}" for i in range(len(dense)))

    def read():
        for start in range(0, len(dense), size):
            rows = slice(start, start + size)
            yield FeatureBatch(space, ids[rows], csr_array(dense[rows]))

    return ScoreInput(space, ids, FeatureStream(space, read), None, ratings, metadata=metadata or {}, groups=groups)


def make_scorer(scorer=PearsonBH, seed=0, options=LinearOptions, **values):
    return scorer(options(**values), saeviz.Context(seed=seed))


def score(*inputs, **options):
    """What a run gets: columns by (name, rating) of one input, by (name, rating, layer) of several; facts by name.

    `scorer`, `seed` and the class `options` as for `make_scorer`.
    """
    scorer = make_scorer(**options)
    columns = [column for data in inputs for column in scorer.score(data)]
    results = [*columns, *scorer.combine(columns)]
    found = {
        (r.name, r.target, r.space.layer)[: 2 if len(inputs) == 1 else 3]: r.values
        for r in results
        if isinstance(r, ScoreColumn)
    }
    return found, {r.name: r.value for r in results if not isinstance(r, ScoreColumn)}


def hard_data():
    """Features and ratings with everything that has made correlations go wrong."""
    generator = np.random.default_rng(0)
    n = 120
    features = generator.exponential(size=(n, 20)) * (generator.random((n, 20)) < 0.3)
    for feature, count in enumerate(ACTIVE_COUNTS):
        features[:, feature] = 0
        features[generator.choice(n, count, replace=False), feature] = generator.exponential(size=count)
    features[:, 6] = 0.1  # constant but on
    features[:, 7] = 3000 + 0.01 * generator.normal(size=n)  # always on, hardly varies
    features[:, 8] = generator.integers(0, 3, n)  # ties
    features[:, 9] = 1e-30 * features[:, 10]
    features = features.astype(np.float32).astype(np.float64)
    ratings = {
        "complete": features[:, 8] + generator.normal(size=n),
        "gappy": np.where(generator.random(n) < 0.3, np.nan, features[:, 10] + 1e6),
        "steps": np.where(generator.random(n) < 0.2, np.nan, generator.integers(1, 6, n).astype(float)),
        "constant": np.full(n, 0.1),
        "pair": np.where(np.arange(n) < 2, np.arange(n), np.nan),
        "nobody": np.full(n, np.nan),
    }
    return features, ratings

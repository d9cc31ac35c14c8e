"""The weights that the scorer `prediction` keeps predict any image, as scikit-learn's model of the same images does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression, Ridge

import saeviz
from saeviz import FeatureBatch, FeatureSpace, FeatureStream, ScoreInput
from saeviz_prediction import PredictionOptions, scorer
from saeviz_prediction.ridge import spectrum_of_gram
from saeviz_prediction.scorer import Prediction

N = 90


def sparse(generator, n_features):
    values = generator.gamma(1.0, size=(N, n_features)) * (generator.random((N, n_features)) < 0.3)
    return values.astype(np.float32)


def make_input(dense, layer, ratings):
    space, ids = FeatureSpace(layer, "cls", dense.shape[1]), tuple(f"image {i}" for i in range(N))
    stream = FeatureStream(space, lambda: iter([FeatureBatch(space, ids, csr_array(dense))]))
    return ScoreInput(space, ids, stream, None, ratings)


def weights_of(spaces, ratings):
    """By rating and layer, and the intercept of each rating."""
    made = Prediction(PredictionOptions(raw_model=False), saeviz.Context())
    columns = [
        column for layer, dense in enumerate(spaces, 1) for column in made.score(make_input(dense, layer, ratings))
    ]
    found = list(made.combine(columns))
    kept = {(one.target, one.space.layer): one.values for one in found if one.name == "ridge_weight"}
    return kept, next((one.value for one in found if one.name == "prediction_intercepts"), None)


@pytest.mark.slow
def test_they_are_those_of_ridge_with_the_penalty_that_is_best_for_all_images():
    generator = np.random.default_rng(0)
    first, second = sparse(generator, 40), sparse(generator, 70)
    known = np.arange(N) % 4 > 0
    liking = first[:, 3] - 2 * second[:, 5] + generator.normal(size=N)
    weights, intercepts = weights_of([first, second], {"liking": np.where(known, liking, np.nan)})

    x = np.column_stack([first, second]).astype(float)
    rows = np.flatnonzero(known)
    penalty = spectrum_of_gram(x @ x.T, rows, rows[:0]).best_penalties(liking[known][:, None], None)[0]
    expected = Ridge(alpha=penalty).fit(x[known], liking[known])
    np.testing.assert_allclose(np.concatenate([weights["liking", 1], weights["liking", 2]]), expected.coef_, atol=1e-6)
    assert intercepts["liking"] == pytest.approx(expected.intercept_, abs=1e-6)


@pytest.mark.slow
def test_those_of_a_binary_rating_add_up_to_log_odds():
    generator = np.random.default_rng(1)
    x = sparse(generator, 50)
    has = (x[:, 2] - x[:, 7] + 0.3 * generator.normal(size=N) > 0).astype(float)
    weights, intercepts = weights_of([x], {"liked": has})
    odds = intercepts["liked"] + x @ weights["liked", 1]
    chance = 1 / (1 + np.exp(-odds))
    assert chance.mean() == pytest.approx(has.mean(), abs=1e-5)  # as of every logistic model with an intercept
    assert chance[has == 1].mean() > chance[has == 0].mean() + 0.2


def test_those_of_a_binary_rating_are_those_of_logistic_regression_by_scikit_learn():
    generator = np.random.default_rng(4)
    first, second = sparse(generator, 25), sparse(generator, 60)
    has = (first[:, 2] - second[:, 7] + 0.8 * generator.normal(size=N) > 0.4).astype(float)
    weights, intercepts = weights_of([first, second], {"liked": has})

    x = np.column_stack([first, second]).astype(float)
    rows, share = np.arange(N), has.mean()
    penalty = spectrum_of_gram(x @ x.T, rows, rows[:0]).best_penalties(has[:, None], None)[0]
    expected = LogisticRegression(C=1 / (penalty * share * (1 - share)), tol=1e-10, max_iter=5000).fit(x, has)
    np.testing.assert_allclose(np.concatenate([weights["liked", 1], weights["liked", 2]]), expected.coef_[0], atol=1e-5)
    assert intercepts["liked"] == pytest.approx(expected.intercept_[0], abs=1e-5)


def test_a_feature_that_never_fires_has_the_weight_0():
    generator = np.random.default_rng(2)
    x = sparse(generator, 30)
    x[:, 4] = 0
    weights, _ = weights_of([x], {"liking": x[:, 1] + generator.normal(size=N)})
    assert weights["liking", 1][4] == 0


def test_of_too_many_ratings_none_are_kept(monkeypatch):
    generator = np.random.default_rng(3)
    x = sparse(generator, 30)
    monkeypatch.setattr(scorer, "MOST_RATINGS", 1)
    weights, intercepts = weights_of([x], {name: generator.normal(size=N) for name in ("one", "two")})
    assert weights == {}
    assert intercepts is None

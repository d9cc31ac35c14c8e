"""Scorer `prediction` on binary ratings: logistic ridge is scikit-learn's, and what it tells apart is there."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.sparse import csc_array
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from saeviz_prediction.folds import Accuracy
from saeviz_prediction.lasso import PENALTIES, Images, path
from saeviz_prediction.logistic import chances
from saeviz_prediction.ridge import spectrum_of_gram, spectrum_of_vectors
from tests.plugins.test_prediction import make_input, predict, sparse_features


def planted(generator, n=300, strength=2.0):
    x = sparse_features(generator, n=n)
    logit = strength * (x[:, 3] - x[:, 8])
    return x, (generator.random(n) < 1 / (1 + np.exp(-logit))).astype(float)


@pytest.mark.parametrize("n_features", [12, 60, 500])
def test_chances_are_those_of_a_logistic_model_of_the_features(n_features):
    generator = np.random.default_rng(0)
    x = sparse_features(generator, n=150, n_features=n_features)
    y = (x[:, 0] + generator.normal(size=150) > 0.6).astype(float)
    train, test = np.arange(30, 150), np.arange(30)
    for spectrum in (spectrum_of_vectors(x, train, test), spectrum_of_gram(x @ x.T, train, test)):
        share = y[train].mean()
        penalty = spectrum.best_penalties(y[train, None], None)[0]
        model = LogisticRegression(C=1 / (penalty * share * (1 - share)), tol=1e-10, max_iter=10_000)
        expected = model.fit(x[train] - x[train].mean(axis=0), y[train]).predict_proba(x[test] - x[train].mean(axis=0))
        np.testing.assert_allclose(chances(spectrum, y[train], penalty), expected[:, 1], atol=1e-6)


@pytest.mark.parametrize("n_features", [30, 300])
def test_the_path_of_the_lasso_is_that_of_scikit_learns_logistic_regression(n_features):
    generator = np.random.default_rng(4)
    x = sparse_features(generator, n=120, n_features=n_features) * generator.lognormal(0, 2, n_features)
    x[:, 1] = 0
    y = (x[:, 0] / x[:, 0].std() + generator.normal(size=120) > 1).astype(float)
    images = Images(csc_array(x), y, 1, "binary")
    steps = list(path(images))
    columns = np.flatnonzero(images.considered)
    scaled = StandardScaler().fit_transform(x[:, columns])
    largest = np.abs(scaled.T @ (y - y.mean())).max() / 120
    assert not steps[0].kept.size
    assert steps[0].intercept == pytest.approx(np.log(y.mean() / (1 - y.mean())))
    for number in (3, 7):
        penalty = PENALTIES[number] * largest
        model = LogisticRegression(l1_ratio=1, C=1 / (120 * penalty), solver="saga", tol=1e-9, max_iter=100_000)
        model.fit(scaled, y)
        step = steps[number]
        weights = np.zeros(n_features)
        weights[step.kept] = step.weights
        np.testing.assert_allclose(weights[columns], model.coef_[0], atol=2e-5)
        assert step.intercept == pytest.approx(model.intercept_[0], abs=1e-5)
        expected = model.predict_proba(scaled)[:, 1]
        np.testing.assert_allclose(images.predict(csc_array(x), step), expected, atol=1e-5)


def test_a_lasso_of_images_that_all_have_it_predicts_that():
    x = csc_array(sparse_features(np.random.default_rng(5), n=30))
    for value in (0.0, 1.0):
        images = Images(x, np.full(30, value), 1, "binary")
        assert [step.kept.size for step in path(images)] == [0] * PENALTIES.size
        assert images.predict(x, next(path(images))).tolist() == [value] * 30


def test_the_lasso_of_what_features_separate_ends():
    generator = np.random.default_rng(6)
    x = sparse_features(generator, n=80, n_features=20)
    images = Images(csc_array(x), (x[:, 0] > 0.5).astype(float), 1, "binary")
    for step in path(images):
        assert np.isfinite(step.weights).all()
    predicted = images.predict(csc_array(x), step)
    assert roc_auc_score(x[:, 0] > 0.5, predicted) > 0.99


def test_what_is_planted_is_told_apart():
    x, y = planted(np.random.default_rng(0))
    figures, columns = predict(make_input(x, {"joy": y}))
    for method in ("ridge", "lasso"):
        entry = figures["joy"][method, "features", "layer7.cls"]
        best = roc_auc_score(y, x[:, 3] - x[:, 8])
        assert best - 0.1 < entry["auc"] < best + 0.03
        assert 0 < entry["auc_sd"] < 0.1
        assert 0 < entry["r2"] < 1
    weights = columns["joy", 7]
    assert set(np.argsort(-np.abs(weights))[:2]) == {3, 8}


def test_of_noise_nothing_is_told_apart():
    found = []
    for seed in range(10):
        generator = np.random.default_rng(seed)
        x = sparse_features(generator, n=80, n_features=200)
        figures, _ = predict(make_input(x, {"joy": (generator.random(80) < 0.4).astype(float)}), min_active=5)
        found.append([(entry["auc"], entry["r2"]) for entry in figures["joy"].values()])
    mean = np.mean(found, axis=0)
    assert np.abs(mean[:, 0] - 0.5).max() < 0.08
    assert mean[:, 1].max() < 0.02


def test_a_numeric_rating_beside_it_has_no_area_and_changes_nothing():
    x, y = planted(np.random.default_rng(1), n=120)
    liking = x[:, 0] + np.random.default_rng(2).normal(size=120)
    together, _ = predict(make_input(x, {"joy": y, "liking": liking}))
    alone, _ = predict(make_input(x, {"liking": liking}))
    assert together["liking"] == alone["liking"]
    assert not any("auc" in entry for entry in together["liking"].values())
    assert all({"auc", "auc_sd"} <= entry.keys() for entry in together["joy"].values())


def test_a_rating_that_few_images_have_in_some_folds_only():
    generator = np.random.default_rng(3)
    x = sparse_features(generator, n=60)
    y = np.zeros(60)
    y[:2] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures, _ = predict(make_input(x, {"joy": y}), min_active=2)
    entry = figures["joy"]["ridge", "features", "layer7.cls"]
    assert 0 <= entry["auc"] <= 1
    assert np.isfinite(entry["r2"])


def test_one_class_among_the_fitted_is_predicted_for_all():
    spectrum = spectrum_of_vectors(np.random.default_rng(0).normal(size=(20, 3)), np.arange(15), np.arange(15, 20))
    assert chances(spectrum, np.zeros(15), 1.0).tolist() == [0] * 5
    assert chances(spectrum, np.ones(15), 1.0).tolist() == [1] * 5


def test_the_area_is_the_mean_over_the_folds_that_have_both():
    accuracy = Accuracy("binary")
    accuracy.add(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.05]), 0.5)
    accuracy.add(np.array([0.0, 0.0]), np.array([0.1, 0.3]), 0.5)
    accuracy.add(np.array([0.0, 1.0]), np.array([0.1, 0.3]), 0.5)
    assert accuracy.auc == 0.75
    assert accuracy.auc_sd == pytest.approx(np.std([0.5, 1.0], ddof=1))
    assert np.isnan(Accuracy("binary").auc)

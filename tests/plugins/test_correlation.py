"""Scorer `pearson-bh`: what the columns mean, checked against SciPy and statsmodels one pair at a time."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import pearsonr
from scipy.stats import t as student_t
from statsmodels.stats.multitest import multipletests

from saeviz import ConfigError, FeatureStream, ScoreInput
from saeviz.testing import ScorerContract
from saeviz_correlation.inference import confidence_interval, p_values
from saeviz_correlation.options import LinearOptions
from saeviz_correlation.scorer import PearsonBH
from tests.plugins.correlations import ACTIVE_COUNTS, hard_data, make_input, make_scorer, score


@pytest.fixture(name="hard_data")
def _hard_data():
    return hard_data()


def scipy_pair(feature, rating):
    rated = np.isfinite(rating)
    x, y = feature[rated], rating[rated]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return [np.nan] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nearly constant input is meant here
        result = pearsonr(x, y)
    return [result.statistic, result.pvalue, *result.confidence_interval(0.95)]


@pytest.mark.parametrize("size", [1, 7, 120])
def test_equals_pearsonr_of_every_pair(hard_data, size):
    features, ratings = hard_data
    columns, _ = score(make_input(features, ratings, size))

    for name, rating in ratings.items():
        expected = np.array([scipy_pair(feature, rating) for feature in features.T])
        for place, column in enumerate(("r", "p", "ci_low", "ci_high")):
            np.testing.assert_allclose(columns[column, name], expected[:, place], rtol=1e-6, atol=1e-12 * (place != 1))


def test_counts_are_of_the_rated_images_only(hard_data):
    features, ratings = hard_data
    columns, _ = score(make_input(features, ratings))

    for name, rating in ratings.items():
        rated = np.isfinite(rating)
        np.testing.assert_array_equal(columns["n", name], np.full(20, rated.sum()))
        np.testing.assert_array_equal(columns["n_active", name], (features[rated] > 0).sum(axis=0))


def test_a_shift_of_the_features_does_not_wear_r_away():
    generator = np.random.default_rng(3)
    rating = generator.normal(size=200)
    wave = np.round(16 * (rating + generator.normal(size=200))) / 16
    features = np.column_stack([wave, wave + 2.0**19])  # both exact in float32
    columns, _ = score(make_input(features, {"liking": rating + 1e9}))

    np.testing.assert_allclose(columns["r", "liking"], pearsonr(wave, rating).statistic, rtol=1e-6)


def test_a_first_image_that_stands_out_does_not_wear_r_away():
    generator = np.random.default_rng(4)
    features = (1 + generator.random((300, 1)) / 1000).astype(np.float32)
    features[0] = 1e4
    rating = generator.normal(size=300)
    columns, _ = score(make_input(features, {"liking": rating}))

    np.testing.assert_allclose(columns["r", "liking"][0], pearsonr(features[:, 0], rating).statistic, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(1, 40))
def test_neither_batch_size_nor_order_of_images_matters(seed, size):
    generator = np.random.default_rng(seed)
    features = generator.exponential(size=(40, 6)) * (generator.random((40, 6)) < 0.5)
    ratings = {
        name: np.where(generator.random(40) < 0.2, np.nan, generator.normal(size=40)) for name in ("liking", "calm")
    }
    order = generator.permutation(40)
    whole, _ = score(make_input(features, ratings, 40), min_active=2)
    pieces, _ = score(make_input(features[order], {k: v[order] for k, v in ratings.items()}, size), min_active=2)

    for key, values in whole.items():
        np.testing.assert_allclose(pieces[key], values, rtol=1e-7, atol=1e-12)


def test_one_pass_and_no_batch_is_kept():
    data = make_input(np.ones((500, 3)), {"liking": np.arange(500.0)}, size=2)
    passes = []

    def read():
        passes.append(1)
        return data.features.batches()

    streamed = ScoreInput(data.space, data.item_ids, FeatureStream(data.space, read), None, data.ratings)
    streamed.features.matrix = None  # the whole matrix is never asked for
    list(make_scorer().score(streamed))

    assert len(passes) == 1


def test_p_values_equal_the_closed_forms_that_small_samples_have():
    r = np.array([-1 + 1e-9, -0.7, 0.0, 1e-9, 0.3, 0.95])
    size = np.abs(r)

    np.testing.assert_allclose(p_values(r, 1), 2 / np.pi * np.arccos(size), rtol=1e-6)
    np.testing.assert_allclose(p_values(r, 2), 1 - size, rtol=1e-8)
    np.testing.assert_allclose(p_values(r, 4), (1 - size) ** 2 * (2 + size) / 2, rtol=1e-8)


@pytest.mark.parametrize("n", [20, 5000])
def test_tiny_p_values_keep_their_relative_precision(n):
    r = np.array([-0.3, 0.1, 0.3, 0.36, 0.9])
    t = np.abs(r) * np.sqrt((n - 2) / (1 - r**2))
    expected = 2 * student_t(n - 2).sf(t)

    assert expected[2] < 1e-100 or n < 5000
    np.testing.assert_allclose(p_values(r, n - 2), expected, rtol=1e-6, atol=0)


def test_a_perfect_correlation_has_p_zero_and_a_closed_interval():
    one = np.array([1.0, -1.0])

    np.testing.assert_array_equal(p_values(one, 8), [0, 0])
    np.testing.assert_array_equal(np.array(confidence_interval(one, 8)), [[1, -1], [1, -1]])


def test_q_and_significant_are_benjamini_hochberg_over_all_features_ratings_and_spaces(hard_data):
    features, ratings = hard_data
    generator = np.random.default_rng(5)
    other = features[:, generator.permutation(20)][:, :15] * (generator.random((120, 15)) < 0.8)
    columns, facts = score(make_input(features, ratings, layer=7), make_input(other, ratings, layer=11), alpha=0.2)

    keys = [(name, layer) for layer in (7, 11) for name in ratings]
    p = np.concatenate([columns["p", *key] for key in keys])
    q = np.concatenate([columns["q", *key] for key in keys])
    significant = np.concatenate([columns["significant", *key] for key in keys])
    n_active = np.concatenate([columns["n_active", *key] for key in keys])
    family = np.isfinite(p) & (n_active >= 10)
    rejected, adjusted, _, _ = multipletests(p[family], 0.2, "fdr_bh")

    np.testing.assert_allclose(q[family], adjusted, rtol=1e-12)
    np.testing.assert_array_equal(significant[family], rejected)
    assert np.isnan(q[~family]).all()
    assert np.isnan(significant[~family]).all()
    assert 0 < rejected.sum() < family.sum()
    assert facts["correlation_family_size"] == family.sum()
    assert facts["correlation_alpha"] == 0.2
    per_rating = {name: sum(np.nansum(columns["significant", name, layer]) for layer in (7, 11)) for name in ratings}
    assert {name: facts[f"correlation_significant_{name}"] for name in ratings} == per_rating


def test_a_feature_below_min_active_keeps_r_and_p_but_is_no_member_of_the_family(hard_data):
    features, ratings = hard_data
    columns, _ = score(make_input(features, {"complete": ratings["complete"]}), min_active=10)

    is_member = np.isfinite(columns["q", "complete"][: len(ACTIVE_COUNTS)])
    has_r = np.isfinite(columns["r", "complete"][: len(ACTIVE_COUNTS)])
    assert dict(zip(ACTIVE_COUNTS, is_member, strict=True)) == {0: 0, 1: 0, 2: 0, 9: 0, 10: 1, 11: 1}
    assert dict(zip(ACTIVE_COUNTS, has_r, strict=True)) == {0: 0, 1: 1, 2: 1, 9: 1, 10: 1, 11: 1}


def test_ratings_without_relation_are_rarely_significant():
    generator = np.random.default_rng(6)
    features = generator.exponential(size=(300, 500)) * (generator.random((300, 500)) < 0.2)
    planted = features[:, 3] + 0.5 * generator.normal(size=300)
    columns, facts = score(make_input(features, {"planted": planted, "noise": generator.normal(size=300)}))

    assert columns["significant", "planted"][3] == 1
    assert facts["correlation_significant_planted"] < 10
    assert facts["correlation_significant_noise"] == 0


def test_only_the_ratings_asked_for():
    data = make_input(np.eye(5), {"liking": np.arange(5.0), "calm": np.arange(5.0)})
    columns, _ = score(data, ratings=["calm"])

    assert {rating for _, rating in columns} == {"calm"}


def test_an_unknown_rating_is_refused_with_the_nearest_name():
    data = make_input(np.eye(5), {"liking": np.arange(5.0), "calm": np.arange(5.0)})

    with pytest.raises(ConfigError, match=r"scorers\.pearson-bh\.ratings.*'likng'; did you mean 'liking'"):
        list(make_scorer(ratings=["likng"]).score(data))
    with pytest.raises(ConfigError, match="'zzz'; there are: 'liking', 'calm'"):
        list(make_scorer(ratings=["zzz"]).score(data))


def test_without_ratings_there_are_no_columns_and_a_word_about_it(caplog):
    columns, facts = score(make_input(np.eye(5), {}))

    assert columns == {}
    assert facts["correlation_family_size"] == 0
    assert "the images have no ratings" in caplog.text


def test_a_rating_without_any_correlation_is_named(caplog, hard_data):
    with caplog.at_level(logging.WARNING):
        score(make_input(*hard_data))

    named = [rating for rating in hard_data[1] if f"rating {rating!r} has no correlations" in caplog.text]
    assert named == ["constant", "pair", "nobody"]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_images_give_nan(n):
    columns, _ = score(make_input(np.random.default_rng(0).random((n, 4)), {"liking": np.arange(float(n))}))

    assert np.isnan(columns["r", "liking"]).all()
    assert np.isnan(columns["p", "liking"]).all()
    assert np.isnan(columns["q", "liking"]).all()


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"alpha": 1}, {"min_active": 0}, {"minactive": 3}, {"ratings": []}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        LinearOptions(**wrong)


class TestContract(ScorerContract):
    component = PearsonBH

    @pytest.fixture
    def make(self):
        return lambda context: PearsonBH(LinearOptions(), context)

"""The null of monosemanticity where images belong to groups: as many random images share a group as the feature's."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_array

import saeviz
from saeviz import FeatureBatch, FeatureSpace, FeatureStream, ScoreColumn, ScoreInput
from saeviz_monosemanticity import MonosemanticityOptions
from saeviz_monosemanticity.choices import Choice
from saeviz_monosemanticity.grouped import Groups
from saeviz_monosemanticity.scorer import Monosemanticity


def score(features, embeddings, groups, ids=None, seed=0, **options):
    features = np.asarray(features, dtype=np.float32)
    space = FeatureSpace(0, "cls", features.shape[1])
    ids = ids or tuple(f"image {n:03}" for n in range(len(features)))
    stream = FeatureStream(space, lambda: iter([FeatureBatch(space, ids, csr_array(features))]))
    data = ScoreInput(space, ids, stream, np.asarray(embeddings, np.float32), {}, groups=groups)
    scorer = Monosemanticity(MonosemanticityOptions(**options), saeviz.Context(seed=seed))
    columns = [one for one in scorer.score(data) if isinstance(one, ScoreColumn)]
    return {one.name: one.values for one in columns}


def names_of(codes):
    return tuple(f"series {code}" for code in codes)


def series_data(generator, n_series=80, length=3, n_features=150):
    """Near-duplicates in series, and features that fire on whole series at random."""
    n = n_series * length
    codes = np.repeat(np.arange(n_series), length)
    embeddings = generator.normal(size=(n_series, 16))[codes] + 0.05 * generator.normal(size=(n, 16)) + 0.5
    fires = (generator.random((n_series, n_features)) < 0.15)[codes]
    return fires * generator.uniform(0.8, 1.2, size=(n, n_features)), embeddings, codes


def test_features_that_fire_on_whole_series_at_random_are_no_more_alike_than_chance():
    features, embeddings, codes = series_data(np.random.default_rng(0))
    naive = score(features, embeddings, None, draws=1000)
    grouped = score(features, embeddings, names_of(codes), draws=1000)
    np.testing.assert_array_equal(grouped["monosemanticity"], naive["monosemanticity"])
    assert (naive["ms_p"] <= 0.05).mean() > 0.2
    assert (grouped["ms_p"] <= 0.05).mean() < 0.11
    assert (grouped["ms_p"] <= 0.5).mean() == pytest.approx(0.5, abs=0.15)


def test_a_feature_of_alike_series_is_found_all_the_same():
    generator = np.random.default_rng(1)
    features, embeddings, codes = series_data(generator)
    embeddings[codes < 8] += 3 * generator.normal(size=16)
    features[:, 0] = (codes < 8) * generator.uniform(0.8, 1.2, size=codes.size)
    found = score(features, embeddings, names_of(codes), draws=1000)
    assert found["ms_p"][0] == 1 / 1001
    assert found["ms_z"][0] > 4


def test_the_null_is_that_of_all_sets_with_as_many_images_of_a_group():
    generator = np.random.default_rng(2)
    codes = np.repeat(np.arange(4), 3)
    unit = generator.normal(size=(12, 5)) + generator.normal(size=(4, 5))[codes]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    features = np.zeros((12, 2))
    features[[0, 1, 5], 0] = 3, 3, 3  # two of a group, one of another
    features[[0, 4, 8], 1] = 3, 3, 3  # of three groups
    found = score(features, unit, names_of(codes), top_k=4, draws=20_000)
    cosines = unit @ unit.T
    for feature, n_groups in ((0, 2), (1, 3)):
        of_sets = np.array(
            [
                np.mean([cosines[one, other] for one, other in combinations(some, 2)])
                for some in combinations(range(12), 3)
                if len(set(codes[list(some)])) == n_groups
            ]
        )
        own = found["monosemanticity"][feature]
        assert found["ms_p"][feature] == pytest.approx((of_sets >= own - 1e-6).mean(), abs=0.03)
        assert found["ms_null_mean"][feature] == pytest.approx(of_sets.mean(), abs=4 * of_sets.std() / 30)
        assert found["ms_null_sd"][feature] == pytest.approx(of_sets.std(), rel=0.1)


@pytest.mark.parametrize("pattern", [(3, 2), (2, 2, 1), (2, 1), (4, 2, 2, 1)])
def test_every_set_of_images_with_the_pattern_is_as_likely_however_unequal_the_groups(pattern):
    codes = np.array([1, 0, 0, 2, 0, 0, 1, 3, 0, 2, 1, 3])
    groups = Groups(codes)
    sets = np.sort(groups.draw(np.random.default_rng(3), Choice(groups.sizes, pattern), 30_000), axis=1)
    found = Counter(map(tuple, sets.tolist()))
    expected = [
        some
        for some in combinations(range(12), sum(pattern))
        if sorted(Counter(codes[list(some)]).values(), reverse=True) == list(pattern)
    ]
    assert set(found) == set(expected)
    assert stats.chisquare([found[some] for some in expected]).pvalue > 1e-4


@pytest.mark.parametrize("n_groups", [12, 200])
def test_any_image_of_the_pattern_may_have_any_weight(n_groups):
    codes = np.repeat(np.arange(n_groups), 3)
    groups = Groups(codes)
    sets = groups.draw(np.random.default_rng(4), Choice(groups.sizes, (2, 1, 1, 1)), 20_000)
    drawn = codes[sets]
    assert (drawn[:, 0] == drawn[:, 1]).all()
    for place in range(5):
        assert drawn[:, place].mean() == pytest.approx(codes.mean(), abs=0.03 * n_groups / 3.4)
        assert (sets[:, place] % 3).mean() == pytest.approx(1, abs=0.03)


def test_the_last_group_that_is_large_enough_is_found_however_unlikely_it_is():
    codes = np.array([0] * 400 + [1, 1])
    groups = Groups(codes)
    drawn = codes[groups.draw(np.random.default_rng(4), Choice(groups.sizes, (2, 2)), 2000)]
    assert (drawn[:, 0] + drawn[:, 2] == 1).all()
    assert drawn[:, 0].mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_p_holds_where_few_groups_differ_in_size_and_in_how_alike_their_images_are():
    generator = np.random.default_rng(8)
    codes = np.repeat(np.arange(3), [300, 150, 150])
    spread = np.array([0.3, 2, 2])[codes, None]
    embeddings = generator.normal(size=(3, 32))[codes] * spread + generator.normal(size=(600, 32))
    features = generator.exponential(size=(600, 400)) * (generator.random((600, 400)) < 0.1)
    found = score(features, embeddings, names_of(codes), draws=1000)
    assert (found["ms_p"] <= 0.05).mean() < 0.09
    assert (found["ms_p"] <= 0.01).mean() < 0.03


def test_neither_the_order_of_images_nor_the_names_of_groups_matter():
    generator = np.random.default_rng(5)
    features, embeddings, codes = series_data(generator, n_features=20)
    order = generator.permutation(len(codes))
    ids = tuple(f"image {n:03}" for n in order)
    first = score(features, embeddings, names_of(codes), draws=1000)
    other = score(features[order], embeddings[order], names_of(100 - codes[order]), ids=ids, draws=1000)
    for name in ("ms_p", "ms_null_mean", "ms_null_sd"):
        np.testing.assert_allclose(other[name], first[name], rtol=1e-5)


def test_images_that_are_all_alone_have_the_null_of_any_images():
    generator = np.random.default_rng(6)
    features, embeddings, _ = series_data(generator, n_features=30)
    alone = score(features, embeddings, (None,) * 240, draws=1000)
    plain = score(features, embeddings, None, draws=1000)
    np.testing.assert_allclose(alone["ms_p"], plain["ms_p"], atol=0.06)
    np.testing.assert_allclose(alone["ms_null_mean"], plain["ms_null_mean"], atol=0.01)
    np.testing.assert_allclose(alone["ms_null_sd"], plain["ms_null_sd"], rtol=0.12)


def test_a_feature_that_could_not_fire_elsewhere_has_no_null_and_what_cannot_allow_for_groups_is_said(caplog):
    generator = np.random.default_rng(7)
    codes = np.array([0] * 6 + [1] * 3 + [2] * 3)
    features = np.zeros((12, 2))
    features[:6, 0] = 2  # all of the only group of six
    features[[0, 6, 9], 1] = 2
    embeddings = generator.normal(size=(12, 4))
    found = score(features, embeddings, names_of(codes), top_k=8, draws=1000)
    assert np.isfinite(found["monosemanticity"]).all()
    assert np.isnan([found[name][0] for name in ("ms_p", "ms_z", "ms_null_sd")]).all()
    assert np.isfinite(found["ms_p"][1])
    with caplog.at_level(logging.WARNING):
        score(features, embeddings, names_of(codes), definition="global")
    assert "the images belong to groups, but ms_p takes them as independent" in caplog.text

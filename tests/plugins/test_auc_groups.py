"""Areas under the curve of images in groups, against Obuchowski's formula from all pairs of images."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

import saeviz
from saeviz_correlation.auc import AUC
from saeviz_correlation.options import AreaOptions
from saeviz_correlation.spearman import Spearman
from tests.plugins.correlations import make_input, score
from tests.plugins.test_correlation_groups import cr2, standardized


def grouped_data(n_groups=14, n=240, seed=0):
    """Features with zeros, ties and negative values, and binary ratings, with parts that groups share."""
    generator = np.random.default_rng(seed)
    codes = generator.permutation(np.sort(generator.choice(n_groups, n, p=generator.dirichlet(np.full(n_groups, 5.0)))))
    shared = generator.normal(size=(n_groups, 10))[codes]
    features = np.maximum(generator.normal(size=(n, 8)) + shared[:, :8], 0)
    features[:, 1] = np.round(2 * features[:, 1])  # ties
    features[:, 2] = generator.normal(size=n) + shared[:, 2]  # never silent, both signs
    features[:, 3] = np.round(features[:, 2])  # ties on both sides of zero
    features[:, 4] = np.where(codes == 1, features[:, 4] + 1, 0)  # one group only
    features[:, 5] = 1
    joy = (features[:, 0] + shared[:, 8] + generator.normal(size=n) > 1).astype(float)
    ratings = {
        "joy": joy,
        "gappy": np.where(generator.random(n) < 0.2, np.nan, (shared[:, 9] + generator.normal(size=n) > 0.5) * 1.0),
        "of groups": (codes % 2).astype(float),
        "of one group": (codes == 3).astype(float),
    }
    return features.astype(np.float32).astype(np.float64), ratings, tuple(f"series {code}" for code in codes)


def obuchowski(x, y, groups):
    """Area, variance with each side's contribution enlarged as in CR2, and its degrees of freedom, from matrices.

    Also the variance as published (Obuchowski 1997, section 2), which has other factors for the number of groups.
    """
    wins = (x[y == 1][:, None] > x[y == 0]) + 0.5 * (x[y == 1][:, None] == x[y == 0])
    area, n1, n0 = wins.mean(), (y == 1).sum(), (y == 0).sum()
    placement = np.empty(len(x))
    placement[y == 1], placement[y == 0] = wins.mean(axis=1), wins.mean(axis=0)
    group = np.array([sorted(set(groups)).index(name) for name in groups])
    member = (group == np.arange(group.max() + 1)[:, None]).astype(float)
    one, zero = member * (y == 1), member * (y == 0)
    of_one, of_zero = one @ (placement - area), zero @ (placement - area)
    i1, i0, i = (one.sum(axis=1) > 0).sum(), (zero.sum(axis=1) > 0).sum(), len(member)
    published = i1 / (i1 - 1) * (of_one**2).sum() / n1**2 + i0 / (i0 - 1) * (of_zero**2).sum() / n0**2
    published += 2 * i / (i - 1) * (of_one * of_zero).sum() / (n1 * n0)
    design = np.column_stack([y == 1, y == 0]).astype(float)
    annihilator = np.eye(len(x)) - design @ np.linalg.inv(design.T @ design) @ design.T
    signs = np.where(y == 1, 1 / n1, 1 / n0)
    residuals, variance, columns = placement - area, 0.0, []
    for own in member.astype(bool):
        sizes, vectors = np.linalg.eigh(annihilator[np.ix_(own, own)])
        weights = signs[own] @ vectors @ np.diag(sizes**-0.5) @ vectors.T
        variance += (weights @ residuals[own]) ** 2
        columns.append(annihilator[:, own] @ weights)
    products = np.array(columns) @ np.array(columns).T
    return area, variance, np.trace(products) ** 2 / np.square(products).sum(), published


def test_intervals_are_those_of_obuchowskis_variance_with_few_groups_allowed_for():
    features, ratings, groups = grouped_data()
    columns, facts = score(make_input(features, ratings, groups=groups), scorer=AUC)
    assert (facts["auc_errors"], facts["auc_groups"], facts["auc_min_expected"]) == ("clusters", 14, 10)
    ranks, _ = score(make_input(features, ratings, groups=groups), scorer=Spearman)
    checked = 0
    for name in ("joy", "gappy", "of groups"):
        rated = np.isfinite(ratings[name])
        own = [group for group, has in zip(groups, rated, strict=True) if has]
        for feature in range(8):
            low, high = (columns[f"auc_ci_{bound}", name][feature] for bound in ("low", "high"))
            if columns["auc_expected_groups", name][feature] < 5 or feature == 5:
                assert np.isnan([low, high]).all()
                continue
            area, variance, df, published = obuchowski(features[rated, feature], ratings[name][rated], own)
            assert variance == pytest.approx(published, rel=0.35)
            df = min(df, ranks["spearman_df", name][feature])
            assert columns["auc_df", name][feature] == pytest.approx(df, rel=1e-6)
            logit, half = np.log(area / (1 - area)), stats.t.isf(0.025, df) * np.sqrt(variance) / (area * (1 - area))
            bounds = [2 / (1 + np.exp(-(logit + sign * half))) - 1 for sign in (-1, 1)]
            assert [low, high] == pytest.approx(bounds, abs=1e-9)
            checked += 1
    assert checked >= 14


def test_the_formula_above_is_the_published_one_where_groups_are_many_and_alike():
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(300), 4)
    x = np.round(generator.normal(size=1200) + generator.normal(size=300)[groups], 1)
    y = (generator.normal(size=1200) + generator.normal(size=300)[groups] > 0.5).astype(float)
    _, variance, _, published = obuchowski(x, y, groups.tolist())
    assert variance == pytest.approx(published, rel=0.01)


def test_p_goes_by_the_larger_of_two_variances_of_the_ranks():
    features, ratings, groups = grouped_data()
    columns, facts = score(make_input(features, ratings, groups=groups), scorer=AUC)
    robust_is_larger = []
    for name in ("joy", "gappy"):
        rated = np.isfinite(ratings[name])
        own = [group for group, has in zip(groups, rated, strict=True) if has]
        y = standardized(ratings[name][rated])
        for feature in (0, 1, 2, 3, 6, 7):
            x = standardized(stats.rankdata(features[rated, feature]))
            sums = np.array([x[[group == one for one in own]].sum() for group in set(own)])
            between = facts[f"auc_between_groups_{name}"]
            alike = (1 - between + between * (sums**2).sum()) / (len(x) - 1)
            error, _ = cr2(x, y, own)
            p = 2 * stats.t.sf(abs(x @ y) / np.sqrt(max(alike, error**2)), len(set(own)) - 1)
            assert columns["auc_p", name][feature] == pytest.approx(p, rel=1e-5)
            robust_is_larger.append(error**2 > alike)
    assert set(robust_is_larger) == {True, False}


def test_without_groups_of_several_the_variance_is_that_of_mann_and_whitney():
    features, ratings, _ = grouped_data()
    alone, _ = score(make_input(features, {"joy": ratings["joy"]}, groups=(None,) * 240), scorer=AUC)
    for feature in (0, 1, 2):
        x, y = stats.rankdata(features[:, feature]), ratings["joy"]
        z = stats.spearmanr(x, y).statistic * np.sqrt(239)  # Mann and Whitney's without correction for continuity
        error, _ = cr2(standardized(x), standardized(y), range(240))
        z = min(abs(z), abs(standardized(x) @ standardized(y)) / error)
        assert alone["auc_p", "joy"][feature] == pytest.approx(2 * stats.t.sf(z, 239), rel=1e-5)


def test_images_in_groups_of_their_own_have_delongs_intervals_with_other_degrees_of_freedom():
    features, ratings, _ = grouped_data()
    alone, _ = score(make_input(features, ratings, groups=(None,) * 240), scorer=AUC)
    expected, facts = score(make_input(features, ratings), scorer=AUC)
    assert facts["auc_errors"] == "independent"
    quantile = stats.t.isf(0.025, alone["auc_df", "joy"])
    widths = [np.arctanh(one["auc_ci_high", "joy"]) - np.arctanh(one["auc_ci_low", "joy"]) for one in (alone, expected)]
    np.testing.assert_allclose(widths[0] / quantile, widths[1] / stats.norm.isf(0.025), rtol=1e-9)
    assert np.isfinite(widths[0]).sum() >= 6


def test_a_feature_or_a_rating_of_one_group_is_not_tested():
    features, ratings, groups = grouped_data()
    columns, _ = score(make_input(features, ratings, groups=groups), scorer=AUC)
    assert columns["auc_n_groups", "joy"][4] == 1
    assert np.isfinite(columns["auc_area", "joy"][4])
    for name in ("p", "ci_low", "ci_high", "q", "significant"):
        assert np.isnan(columns[f"auc_{name}", "joy"][4])
    assert np.isfinite(columns["auc_area", "of one group"][:4]).all()
    assert np.isnan(columns["auc_ci_low", "of one group"]).all()
    assert np.isnan(columns["auc_q", "of one group"]).all()
    assert columns["auc_expected_groups", "joy"][4] == pytest.approx(13 / 14, abs=1 / 14)


def test_a_rating_that_differs_between_groups_only_is_not_found_by_chance():
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), 10)
    features = np.maximum(generator.normal(size=(400, 300)) + 2 * generator.normal(size=(40, 300))[groups], 0)
    data = make_input(features, {"y": (groups < 20) * 1.0}, groups=tuple(map(str, groups)))
    columns, _ = score(data, scorer=AUC)
    assert (columns["auc_p", "y"] <= 0.05).mean() < 0.09
    assert not columns["auc_significant", "y"].any()
    naive, _ = score(data, scorer=AUC, options=AreaOptions, errors="independent")
    assert (naive["auc_p", "y"] <= 0.05).mean() > 0.4


def test_the_order_of_images_and_the_batches_change_nothing():
    features, ratings, groups = grouped_data()
    expected, _ = score(make_input(features, ratings, groups=groups), scorer=AUC)
    order = np.random.default_rng(5).permutation(240)
    shuffled = {name: values[order] for name, values in ratings.items()}
    data = make_input(features[order], shuffled, size=7, groups=tuple(groups[row] for row in order))
    found, _ = score(data, scorer=AUC)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-9, atol=1e-9, err_msg=str(key))


def test_what_does_not_go_with_groups_is_refused_or_warned_of(caplog):
    features, ratings, groups = grouped_data(n_groups=4)
    with pytest.raises(saeviz.ConfigError, match=r"scorers\.auc\.errors: the images have no groups"):
        score(make_input(features, ratings), scorer=AUC, options=AreaOptions, errors="clusters")
    with pytest.raises(saeviz.ConfigError, match=r"scorers\.auc\.correction: max-t permutes single images"):
        score(make_input(features, ratings, groups=groups), scorer=AUC, options=AreaOptions, correction="max-t")
    with pytest.raises(ValidationError, match="max-t permutes single images"):
        AreaOptions(correction="max-t", errors="clusters")
    with pytest.raises(ValidationError, match="'auto', 'independent' or 'clusters'"):
        AreaOptions.model_validate({"errors": "hc2"})
    with caplog.at_level(logging.WARNING):
        score(make_input(features, ratings, groups=groups), scorer=AUC)
    assert "auc: the images with rating 'joy' belong to only 4 groups" in caplog.text

"""Correlations of images that belong to groups: p and intervals against statsmodels and the published formula."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from pydantic import ValidationError
from scipy import stats

import saeviz
from saeviz import ConfigError
from saeviz_correlation.options import LinearOptions, PartialOptions
from saeviz_correlation.partial import Partial
from saeviz_correlation.scorer import PearsonBH, PointBiserial
from saeviz_correlation.spearman import Spearman
from tests.plugins.correlations import make_input, make_scorer, score


def grouped_data(n_groups=12, n=150, seed=0):
    """Sparse features, two ratings with a part that groups share, groups of unequal size."""
    generator = np.random.default_rng(seed)
    codes = np.sort(generator.choice(n_groups, n, p=generator.dirichlet(np.full(n_groups, 3.0))))
    codes = generator.permutation(codes)
    shared = generator.normal(size=(n_groups, 8))[codes]
    features = np.maximum(generator.normal(size=(n, 8)) + shared - 0.5, 0)
    features[:, 6] += 1000  # always on, with a large mean
    features = features.astype(np.float32).astype(np.float64)
    ratings = {
        "mood": features[:, 0] + shared[:, 1] + generator.normal(size=n),
        "gappy": np.where(generator.random(n) < 0.2, np.nan, shared[:, 2] + generator.normal(size=n)),
    }
    return features, ratings, tuple(f"series {code}" for code in codes)


def standardized(values):
    values = values - values.mean()
    return values / np.linalg.norm(values)


def cr2(x, y, groups):
    """The formula of Pustejovsky and Tipton (2018), section 2, with an identity working model, from dense matrices.

    Standard error of the slope and Satterthwaite's degrees of freedom.
    """
    n = len(x)
    design = np.column_stack([np.ones(n), x])
    bread = np.linalg.inv(design.T @ design)
    annihilator = np.eye(n) - design @ bread @ design.T
    residuals = annihilator @ y
    variance, columns = 0.0, []
    for group in sorted(set(groups)):
        own = np.array([name == group for name in groups])
        sizes, vectors = np.linalg.eigh(annihilator[np.ix_(own, own)])
        adjustment = vectors @ np.diag(sizes**-0.5) @ vectors.T
        weights = (bread @ design[own].T @ adjustment)[1]
        variance += (weights @ residuals[own]) ** 2
        columns.append(annihilator[:, own] @ weights)
    products = np.array(columns) @ np.array(columns).T
    return np.sqrt(variance), np.trace(products) ** 2 / np.square(products).sum()


def pairs(features, ratings, groups):
    """Every feature and rating with it: x, y, standardized, and the groups, over the rated images."""
    for name, rating in ratings.items():
        rated = np.isfinite(rating)
        for feature in range(features.shape[1]):
            own = [group for group, has in zip(groups, rated, strict=True) if has]
            yield feature, name, standardized(features[rated, feature]), standardized(rating[rated]), own


@pytest.mark.parametrize("size", [7, 64])
def test_p_is_that_of_cr2_with_satterthwaite_degrees_of_freedom(size):
    features, ratings, groups = grouped_data()
    columns, facts = score(make_input(features, ratings, size=size, groups=groups))
    assert (facts["correlation_errors"], facts["correlation_groups"]) == ("clusters", 12)
    for feature, name, x, y, own in pairs(features, ratings, groups):
        error, df = cr2(x, y, own)
        assert columns["df", name][feature] == pytest.approx(df, rel=1e-6)
        t = columns["r", name][feature] / error
        assert columns["p", name][feature] == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-5)


def test_the_published_formula_above_gives_the_variance_of_statsmodels_where_clusters_are_large_and_alike():
    # CR2 lies between CR0, which statsmodels has, and CR3, and all are the same in the limit
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(150), 4)
    x, y = (standardized(generator.normal(size=600)) for _ in range(2))
    fit = sm.OLS(y, sm.add_constant(x)).fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    error, _ = cr2(x, y, groups.tolist())
    assert 1 < error / fit.bse[1] < 1.02


def test_single_images_with_hc2_have_the_standard_error_of_statsmodels_and_satterthwaites_degrees_of_freedom():
    features, ratings, _ = grouped_data()
    columns, facts = score(make_input(features, ratings), errors="hc2")
    assert facts["correlation_errors"] == "hc2"
    assert "correlation_groups" not in facts
    assert ("n_groups", "mood") not in columns
    for feature, name, x, y, own in pairs(features, ratings, range(150)):
        usual = sm.OLS(y, sm.add_constant(x)).fit()
        fit = sm.OLS(y, sm.add_constant(x)).fit(cov_type="HC2")
        _, df = cr2(x, y, own)
        assert columns["df", name][feature] == pytest.approx(df, rel=1e-6)
        t = columns["r", name][feature] / fit.bse[1]
        expected = max(2 * stats.t.sf(abs(t), df), usual.pvalues[1])
        assert columns["p", name][feature] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("groups", [None, (None,) * 300])
def test_rare_features_are_not_found_because_ratings_are_skewed(groups):
    # on the few images of a rare feature skewed ratings are often alike, and their own spread would make any p small
    generator = np.random.default_rng(7)
    features = np.zeros((300, 600))
    for feature in features.T:
        feature[generator.choice(300, 12, replace=False)] = 1.0
    data = make_input(features, {"likes": generator.exponential(size=300)}, groups=groups)
    columns, _ = score(data, errors="hc2" if groups is None else "clusters")
    p, low, high = (columns[name, "likes"] for name in ("p", "ci_low", "ci_high"))
    assert np.mean(p <= 0.05) < 0.05  # without care: .09
    assert np.mean(p <= 0.001) < 0.004
    assert np.mean((low > 0) | (high < 0)) < 0.05


def test_features_that_fire_rarely_are_not_found_by_errors_for_unequal_spread():
    generator = np.random.default_rng(0)
    features = np.zeros((600, 1000))
    for feature in range(1000):
        features[generator.choice(600, 10, replace=False), feature] = generator.exponential(size=10)
    columns, _ = score(make_input(features, {"mood": generator.normal(size=600)}), errors="hc2")
    assert (columns["p", "mood"] <= 0.001).mean() < 0.003  # HC3 with Student's t: .023
    assert not columns["significant", "mood"].any()


def test_hc2_calls_nothing_negligible_that_is_not_so_for_independent_images():
    generator = np.random.default_rng(8)
    features = np.where(generator.random((500, 300)) < 0.02, generator.random((500, 300)) + 0.1, 0)
    data = make_input(features, {"mood": generator.normal(size=500)})
    for margin in (0.18, 0.2, 0.22, 0.25):
        usual, robust = (
            score(data, errors=errors, negligible_r=margin, min_active=2)[0] for errors in ("independent", "hc2")
        )
        assert np.nansum(usual["negligible", "mood"]) > 0
        assert not ((robust["negligible", "mood"] == 1) & (usual["negligible", "mood"] == 0)).any()


def test_every_image_in_a_group_of_its_own_is_hc2():
    features, ratings, _ = grouped_data()
    columns, _ = score(make_input(features, ratings, groups=(None,) * 150), errors="clusters")
    expected, _ = score(make_input(features, ratings), errors="hc2")
    for column in (("p", "mood"), ("p", "gappy"), ("ci_low", "gappy")):
        np.testing.assert_allclose(columns[column], expected[column], rtol=1e-6)


def test_ranks_and_being_active_have_robust_errors_of_their_own():
    features, ratings, groups = grouped_data()
    ranked = {name: stats.rankdata(values, nan_policy="omit") for name, values in ratings.items()}
    given = make_input(features, ratings, groups=groups)
    columns, _ = score(given, scorer=PointBiserial)
    expected, _ = score(make_input(features > 0, ratings, groups=groups))
    for name in ("p", "ci_low", "ci_high", "df"):
        np.testing.assert_allclose(columns[f"point_biserial_{name}", "mood"], expected[name, "mood"], rtol=1e-6)
    ranks = stats.rankdata(features, axis=0)
    columns, _ = score(given, scorer=Spearman)
    expected, _ = score(make_input(ranks, ranked, groups=groups))
    for name in ("p", "ci_low", "ci_high", "df"):
        np.testing.assert_allclose(columns[f"spearman_{name}", "mood"], expected[name, "mood"], rtol=1e-5)


def partial(data, **options):
    return score(data, scorer=Partial, options=PartialOptions, control=("light",), **options)[0]


def test_partial_correlation_with_hc2_is_that_of_images_in_groups_of_their_own():
    features, ratings, _ = grouped_data()
    light = features[:, 7] + np.random.default_rng(2).normal(size=150)
    columns = partial(make_input(features, {**ratings, "light": light}), errors="hc2")
    alone = partial(make_input(features, {**ratings, "light": light}, groups=(None,) * 150))
    np.testing.assert_allclose(columns["partial_p", "mood"], alone["partial_p", "mood"], rtol=1e-6)
    for feature in range(6):
        design = sm.add_constant(np.column_stack([features[:, feature], light]))
        fit, df = sm.OLS(ratings["mood"], design).fit(cov_type="HC2"), columns["partial_df", "mood"][feature]
        t = stats.t.isf(columns["partial_p", "mood"][feature] / 2, df)
        of_usual = stats.t.isf(sm.OLS(ratings["mood"], design).fit().pvalues[1] / 2, df)
        expected = min(abs(fit.tvalues[1]), of_usual)
        assert t == pytest.approx(expected, rel=0.02)  # the leverage of the control is a factor here


def test_partial_correlation_in_groups_is_that_of_the_residuals():
    features, ratings, groups = grouped_data()
    light = features[:, 7] + np.random.default_rng(2).normal(size=150)
    columns = partial(make_input(features, {**ratings, "light": light}, groups=groups))
    control = sm.add_constant(light)
    for feature in range(6):
        x, y = (standardized(sm.OLS(v, control).fit().resid) for v in (features[:, feature], ratings["mood"]))
        error, df = cr2(x, y, groups)
        t = x @ y / (error * np.sqrt(148 / 147))
        assert columns["partial_p", "mood"][feature] == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-5)
        assert columns["partial_df", "mood"][feature] == pytest.approx(df, rel=1e-6)


def test_neither_order_nor_names_of_groups_matter_nor_scale():
    features, ratings, groups = grouped_data()
    columns, _ = score(make_input(features, ratings, groups=groups))
    order = np.random.default_rng(3).permutation(150)
    others = {name: 5 - 3 * values[order] for name, values in ratings.items()}
    renamed = tuple(f"{groups[row][::-1]}!" for row in order)
    again, _ = score(make_input(features[order] * 4, others, groups=renamed))
    np.testing.assert_allclose(again["p", "gappy"], columns["p", "gappy"], rtol=1e-6)
    np.testing.assert_allclose(again["ci_low", "gappy"], -columns["ci_high", "gappy"], rtol=1e-6)


def test_the_interval_excludes_zero_where_p_is_small():
    features, ratings, groups = grouped_data()
    columns, _ = score(make_input(features, ratings, groups=groups))
    low, high = columns["ci_low", "mood"], columns["ci_high", "mood"]
    assert (low < columns["r", "mood"]).all()
    assert (columns["r", "mood"] < high).all()
    assert columns["p", "mood"][1] < 0.01
    assert low[1] > 0
    assert columns["p", "mood"][0] > 0.1
    assert low[0] < 0 < high[0]


def test_a_feature_of_one_group_has_r_and_no_p():
    features, ratings, groups = grouped_data()
    features[:, 3] = np.where(np.array(groups) == "series 1", features[:, 3] + 1, 0)
    features[:, 4] = 0
    columns, _ = score(make_input(features, ratings, groups=groups))
    assert np.isfinite(columns["r", "mood"][3])
    assert columns["n_groups", "mood"][3] == 1
    for name in ("p", "ci_low", "ci_high", "df", "q", "significant"):
        assert np.isnan(columns[name, "mood"][[3, 4]]).all()


def test_images_in_groups_are_taken_as_independent_if_asked_for():
    features, ratings, groups = grouped_data()
    columns, facts = score(make_input(features, ratings, groups=groups), errors="independent")
    expected, _ = score(make_input(features, ratings))
    assert facts["correlation_errors"] == "independent"
    assert set(columns) == set(expected)
    for key, values in expected.items():
        np.testing.assert_array_equal(columns[key], values)


def test_held_out_images_have_robust_errors_too():
    features, ratings, groups = grouped_data()
    given = make_input(features, ratings, groups=groups)
    columns, _ = score(given, split=0.5)
    finding = saeviz.finding_images(given.item_ids, 0.5, 0, groups)
    assert (columns["n", "mood"] == finding.sum()).all()
    assert not {group for group, is_found in zip(groups, finding, strict=True) if is_found} & {
        group for group, is_found in zip(groups, finding, strict=True) if not is_found
    }
    assert (columns["df_held_out", "mood"] < 12).all()
    assert np.isfinite(columns["p_held_out", "mood"]).all()


def test_what_does_not_go_with_groups_is_refused_by_name():
    features, ratings, _ = grouped_data()
    with pytest.raises(ConfigError, match=r"scorers\.pearson-bh\.errors: .*group_column"):
        score(make_input(features, ratings), errors="clusters")
    with pytest.raises(ConfigError, match=r"scorers\.pearson-bh\.errors: .*group_column"):
        score(make_input(features, ratings), errors="permutation")
    with pytest.raises(ValidationError, match=r"max-t permutes ratings.*errors = 'permutation'"):
        LinearOptions(correction="max-t", errors="hc2")
    with pytest.raises(ValidationError, match="raise permutations"):
        LinearOptions(errors="permutation", permutations=10)


def test_few_groups_get_a_warning(caplog):
    features, ratings, groups = grouped_data(n_groups=4)
    with caplog.at_level(logging.WARNING):
        score(make_input(features, ratings, groups=groups))
    assert "belong to only 4 groups" in caplog.text


def test_a_rating_of_two_groups_has_no_correlations_and_the_log_says_why(caplog):
    features, ratings, groups = grouped_data()
    two = np.array([group in ("series 0", "series 1") for group in groups])
    ratings["of two"] = np.where(two, ratings["mood"], np.nan)
    with caplog.at_level(logging.WARNING):
        columns, facts = score(make_input(features, ratings, groups=groups))
    assert np.isnan(columns["p", "of two"]).all()
    assert "rating 'of two' has no correlations: fewer than 3 groups have it" in caplog.text
    assert "the images with rating 'of two' belong to only 2 groups" in caplog.text
    assert facts["correlation_groups"] == 12
    _, facts = score(make_input(features, ratings, groups=groups), ratings=("of two",))
    assert facts["correlation_groups"] == 2


def test_many_controls_for_the_groups_get_a_warning(caplog):
    features, ratings, groups = grouped_data(n_groups=25, n=300)
    controls = {f"light {number}": values for number, values in enumerate(np.random.default_rng(3).random((3, 300)))}
    data = make_input(features, {**ratings, **controls}, groups=groups)
    with caplog.at_level(logging.WARNING):
        score(data, scorer=Partial, options=PartialOptions, control=("light 0",))
        assert "controls" not in caplog.text
        score(data, scorer=Partial, options=PartialOptions, control=tuple(controls))
    assert "partial: 3 controls" in caplog.text
    assert "are many for 25 groups" in caplog.text


def test_r_within_groups_is_that_of_deviations_from_their_means():
    features, ratings, groups = grouped_data()
    ratings["of series"] = np.array([float(group.removeprefix("series ")) for group in groups])
    columns, _ = score(make_input(features, ratings, groups=groups))
    for feature, name, x, y, own in pairs(features, ratings, groups):
        if name == "of series":
            assert np.isnan(columns["r_within", name][feature])
            continue
        frame = pd.DataFrame({"x": x, "y": y})
        left = frame - frame.groupby(own).transform("mean")
        assert columns["r_within", name][feature] == pytest.approx(left["x"].corr(left["y"]), abs=1e-6)


def test_different_r_in_different_groups_are_told_by_cochrans_q():
    generator = np.random.default_rng(4)
    groups = tuple(np.repeat(["a", "b", "c", "few"], [60, 40, 30, 15]).tolist())
    features = generator.gamma(1.0, size=(145, 3)) * (generator.random((145, 3)) < 0.7)
    features[:100, 2] = 0  # varies in one large group only
    slope = np.repeat([1.0, -1.0, 0.0, 0.0], [60, 40, 30, 15])
    rating = slope * features[:, 0] + generator.normal(size=145)
    columns, _ = score(make_input(features, {"mood": rating}, groups=groups))
    z, weights = [], []
    for name, size in (("a", 60), ("b", 40), ("c", 30)):
        own = np.array(groups) == name
        z.append([np.arctanh(np.corrcoef(features[own, feature], rating[own])[0, 1]) for feature in range(2)])
        weights.append(size - 3)
    q = np.sum(np.array(weights)[:, None] * (np.array(z) - np.average(z, axis=0, weights=weights)) ** 2, axis=0)
    np.testing.assert_allclose(columns["heterogeneity_p", "mood"][:2], stats.chi2.sf(q, 2), rtol=1e-5)
    assert columns["heterogeneity_p", "mood"][0] < 1e-6
    assert columns["heterogeneity_p", "mood"][1] > 0.01
    assert np.isnan(columns["heterogeneity_p", "mood"][2])


def test_the_variance_of_ranks_in_cochrans_q_is_bonett_and_wrights():
    generator = np.random.default_rng(5)
    features = generator.gamma(1.0, size=(120, 1))
    rating = features[:, 0] + generator.normal(size=120)
    groups = tuple(np.repeat(["a", "b"], [70, 50]).tolist())
    columns, _ = score(make_input(features, {"mood": rating}, groups=groups), scorer=Spearman)
    x, y = stats.rankdata(features[:, 0]), stats.rankdata(rating)
    z = np.arctanh([np.corrcoef(x[part], y[part])[0, 1] for part in (slice(70), slice(70, 120))])
    weights = np.array([67.0, 47.0])
    mean = np.average(z, weights=weights)
    q = weights @ (z - mean) ** 2 / (1 + np.tanh(mean) ** 2 / 2)
    assert columns["spearman_heterogeneity_p", "mood"][0] == pytest.approx(stats.chi2.sf(q, 1), rel=1e-4)


def test_the_share_of_variance_between_groups_is_a_fact():
    # Shrout and Fleiss (1979): six targets, four judges; ICC(1,1) is .17
    table = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    values = np.append(table.ravel(), np.nan)
    groups = tuple(f"target {row // 4}" for row in range(25))
    _, facts = score(make_input(np.arange(25)[:, None] % 3, {"score": values, "flat": values * 0}, groups=groups))
    assert facts["correlation_between_groups_score"] == pytest.approx(0.1657, abs=5e-5)
    assert np.isnan(facts["correlation_between_groups_flat"])


def test_the_share_between_unequal_groups_is_that_of_statsmodels_analysis_of_variance():
    features, ratings, groups = grouped_data()
    _, facts = score(make_input(features, ratings, groups=groups))
    frame = pd.DataFrame({"mood": ratings["mood"], "series": groups})
    between, within = sm.stats.anova_lm(sm.formula.ols("mood ~ C(series)", frame).fit())["mean_sq"]
    sizes = frame["series"].value_counts()
    usual = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (sizes.size - 1)
    expected = (between - within) / (between + (usual - 1) * within)
    assert facts["correlation_between_groups_mood"] == pytest.approx(expected, rel=1e-9)


def test_the_scorer_is_made_with_its_options():
    assert isinstance(make_scorer(PearsonBH).options, LinearOptions)

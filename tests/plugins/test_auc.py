"""The scorer `auc`, against scikit-learn, SciPy and formulas written out."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import average_precision_score, roc_auc_score
from statsmodels.stats.multitest import multipletests

import saeviz
from saeviz.testing import HoldsOutContract, ScorerContract, scorers
from saeviz.testing.data import score_input
from saeviz.testing.fakes import FakeImages
from saeviz_correlation import areas as areas_module
from saeviz_correlation.auc import AUC
from saeviz_correlation.options import AreaOptions
from tests.plugins.correlations import hard_data, make_input, score
from tests.report_data import report_of


def binary_ratings(features):
    generator = np.random.default_rng(3)
    n = len(features)
    joy = (features[:, 8] + generator.normal(size=n) > 1.2).astype(float)
    return {
        "joy": joy,
        "gappy": np.where(generator.random(n) < 0.1, np.nan, (features[:, 10] + generator.normal(size=n) > 0.2) * 1.0),
        "rare": np.isin(np.arange(n), [3, 50, 90]).astype(float),
        "single": (np.arange(n) == 7).astype(float),
        "everybody": np.ones(n),
        "nobody": np.zeros(n),
        "pair": np.where(np.arange(n) < 2, np.arange(n), np.nan),
        "number": generator.normal(size=n),
    }


@pytest.fixture(scope="module")
def hard():
    features, _ = hard_data()
    features[:, 15] = np.where(features[:, 15] > 0, features[:, 15], -features[:, 11])  # negative activations, too
    features[:, 16] = np.round(np.random.default_rng(1).normal(size=len(features)))  # ties on both sides of zero
    features[:, 17] = -np.abs(features[:, 17])
    features[:, 18] = 1 + features[:, 18]  # never silent
    features = features.astype(np.float32).astype(np.float64)
    ratings = binary_ratings(features)
    return features, ratings, score(make_input(features, ratings), scorer=AUC)


def delong(x, y):
    """r's interval by the variance of DeLong and others, from all pairs of images, on the scale of the logit."""
    positive, negative = x[y == 1], x[y == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    area = wins.mean()
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)
    half = norm.ppf(0.975) * np.sqrt(variance) / (area * (1 - area))
    low, high = (1 / (1 + np.exp(-(np.log(area / (1 - area)) + sign * half))) for sign in (-1, 1))
    return 2 * low - 1, 2 * high - 1


@pytest.mark.parametrize("rating", ["joy", "gappy", "rare", "single"])
def test_area_precision_and_p_are_those_of_scikit_learn_and_scipy(hard, rating):
    features, ratings, (found, _) = hard
    rated = np.isfinite(ratings[rating])
    y = ratings[rating][rated]
    varying = [f for f in range(features.shape[1]) if np.ptp(features[rated, f]) > 0]
    assert len(varying) > 15
    for feature in varying:
        x = features[rated, feature]
        area = roc_auc_score(y, x)
        assert found["auc_area", rating][feature] == pytest.approx(area, abs=1e-12)
        assert found["auc_r", rating][feature] == pytest.approx(2 * area - 1, abs=1e-12)
        precision = average_precision_score(y, x)
        assert found["auc_average_precision", rating][feature] == pytest.approx(precision, abs=1e-12)
        p = mannwhitneyu(x[y == 1], x[y == 0], method="asymptotic").pvalue
        assert found["auc_p", rating][feature] == pytest.approx(p, rel=1e-9)
        assert found["auc_n_positive", rating][feature] == y.sum()
        assert found["auc_n", rating][feature] == rated.sum()
        assert found["auc_n_active", rating][feature] == (x > 0).sum()
    for feature in set(range(features.shape[1])) - set(varying):
        assert all(np.isnan(found[f"auc_{name}", rating][feature]) for name in ("area", "r", "p", "ci_low", "q"))


def expected_active(found, rating):
    """On how many images of the smaller side a feature fires, if it fires on either equally often."""
    n, n_positive = found["auc_n", rating], found["auc_n_positive", rating]
    return found["auc_n_active", rating] * np.minimum(n_positive, n - n_positive) / n


@pytest.mark.parametrize("rating", ["joy", "gappy"])
def test_intervals_are_those_of_delong(hard, rating):
    features, ratings, (found, _) = hard
    rated = np.isfinite(ratings[rating])
    checked = 0
    for feature in range(features.shape[1]):
        area = found["auc_area", rating][feature]
        if expected_active(found, rating)[feature] < 10:
            assert np.isnan(found["auc_ci_low", rating][feature])
            assert np.isnan(found["auc_ci_high", rating][feature])
        elif np.isfinite(area) and 0 < area < 1:
            low, high = delong(features[rated, feature], ratings[rating][rated])
            assert found["auc_ci_low", rating][feature] == pytest.approx(low, abs=1e-9)
            assert found["auc_ci_high", rating][feature] == pytest.approx(high, abs=1e-9)
            assert low <= found["auc_r", rating][feature] <= high
            checked += 1
    assert checked >= 10


def test_one_image_on_a_side_or_a_perfect_feature_has_no_interval(hard):
    _, _, (found, _) = hard
    assert np.isfinite(found["auc_area", "single"]).sum() > 12
    assert np.isnan(found["auc_ci_low", "single"]).all()
    y = np.arange(20) % 2
    perfect, _ = score(make_input(np.column_stack([y, 2 - y]), {"y": y.astype(float)}), scorer=AUC)
    assert perfect["auc_area", "y"].tolist() == [1, 0]
    assert np.isnan(perfect["auc_ci_low", "y"]).all()
    assert (perfect["auc_p", "y"] < 0.001).all()


@pytest.mark.parametrize("rating", ["everybody", "nobody", "pair"])
def test_what_cannot_be_told_apart_is_nan(hard, rating):
    _, _, (found, _) = hard
    for name in ("area", "average_precision", "n_positive", "r", "p", "ci_low", "ci_high", "q", "significant"):
        assert np.isnan(found[f"auc_{name}", rating]).all()


def test_ratings_that_are_not_binary_are_left_out(hard):
    features, ratings, (found, _) = hard
    assert not [name for name, target in found if target == "number"]
    with pytest.raises(saeviz.ConfigError, match=r"scorers\.auc\.ratings: 'number' is not binary .* use spearman"):
        score(make_input(features, ratings), scorer=AUC, ratings=["joy", "number"])


def test_a_run_without_binary_ratings_is_told_so(caplog):
    with caplog.at_level(logging.WARNING):
        found, facts = score(make_input([[1.0], [2.0], [3.0]], {"x": np.array([1.0, 2.0, 3.5])}), scorer=AUC)
    assert found == {}
    assert facts["auc_measure"] == "rank-biserial r"
    assert "auc: no rating is binary (all values 0 or 1)" in caplog.text


def test_q_is_benjamini_hochberg_over_all_binary_ratings(hard):
    _, _, (found, facts) = hard
    names = ("joy", "gappy", "rare", "single")
    p = np.concatenate([found["auc_p", name] for name in names])
    n_active = np.concatenate([found["auc_n_active", name] for name in names])
    q = np.concatenate([found["auc_q", name] for name in names])
    expected = np.concatenate([expected_active(found, name) for name in names])
    member = np.isfinite(p) & (n_active >= 10) & (expected >= 10)
    assert 0 < member[: len(member) // 2].sum() < member.size // 2
    assert not member[len(member) // 2 :].any(), "three images are too few, and so is one"
    np.testing.assert_allclose(q[member], multipletests(p[member], method="fdr_bh")[1])
    assert np.isnan(q[~member]).all()
    assert facts["auc_family_size"] == member.sum()
    assert facts["auc_significant_joy"] == np.nansum(found["auc_significant", "joy"])


def test_the_order_of_images_batches_and_pieces_change_nothing(hard, monkeypatch):
    features, ratings, (expected, _) = hard
    monkeypatch.setattr(areas_module, "ENTRIES_AT_ONCE", 50)
    order = np.random.default_rng(5).permutation(len(features))
    shuffled = make_input(features[order], {name: values[order] for name, values in ratings.items()}, size=7)
    found, _ = score(shuffled, scorer=AUC)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-12, atol=1e-12, err_msg=str(key))


def test_held_out_images_are_tested_by_themselves():
    generator = np.random.default_rng(0)
    n = 400
    y = (generator.random(n) < 0.4).astype(float)
    features = generator.exponential(size=(n, 6)) * (generator.random((n, 6)) < 0.5)
    features[:, 0] += 2 * y
    data = make_input(features, {"y": y})
    found, facts = score(data, scorer=AUC, split=0.5)
    held_out = ~saeviz.finding_images(data.item_ids, 0.5, 0)
    area = roc_auc_score(y[held_out], features[held_out, 0].astype(np.float32))
    assert found["auc_area_held_out", "y"][0] == pytest.approx(area)
    assert found["auc_n_held_out", "y"][0] == held_out.sum()
    assert found["auc_n_positive_held_out", "y"][0] == y[held_out].sum()
    assert found["auc_replicated", "y"][0] == 1
    assert (facts["auc_split"], facts["auc_replicated_y"]) == (0.5, 1)


def test_max_t_finds_what_is_there_and_no_chance():
    generator = np.random.default_rng(0)
    n = 200
    y = (generator.random(n) < 0.4).astype(float)
    features = generator.exponential(size=(n, 30)) * (generator.random((n, 30)) < 0.5)
    features[:, 0] += 2 * y
    found, facts = score(make_input(features, {"y": y}), scorer=AUC, correction="max-t", permutations=199)
    assert found["auc_q", "y"][0] == pytest.approx(1 / 200)
    assert np.nansum(found["auc_significant", "y"]) == 1
    assert (found["auc_q", "y"] >= found["auc_p", "y"] - 1e-12).all()
    assert facts["auc_permutations"] == 199


def test_max_t_goes_by_the_features_that_are_tested_with_each_rating():
    generator = np.random.default_rng(5)
    n = 200
    ratings = {name: (generator.random(n) < share) * 1.0 for name, share in (("few", 0.1), ("half", 0.5))}
    features = generator.exponential(size=(n, 40))
    features[:, 10:] *= generator.random((n, 30)) < 0.15  # about 30 images: too rare for the one, not for the other
    features[:, 0] += ratings["few"]
    alone = make_input(features[:, :10], {"few": ratings["few"]})
    given = {"scorer": AUC, "options": AreaOptions, "correction": "max-t", "permutations": 199}
    expected, _ = score(alone, **given)
    found, _ = score(make_input(features, ratings), family="rating", **given)
    assert np.isnan(found["auc_q", "few"][10:]).all()
    assert np.isfinite(found["auc_q", "half"][10:]).sum() > 20
    np.testing.assert_array_equal(found["auc_q", "few"][:10], expected["auc_q", "few"])


def test_it_is_the_main_relation_where_it_is_the_only_one(hard):
    _, _, (found, facts) = hard
    table = pd.DataFrame({name: values for (name, target), values in found.items() if target == "joy"})
    assert saeviz.relation_prefixes(table) == ["auc_"]
    main = saeviz.main_relation(table)
    assert {"r", "p", "q", "n", "area", "average_precision"} <= set(main)
    assert saeviz.measure_of("auc_", facts) == "rank-biserial r"


class OfHalves:
    """On the suite's own data, with each rating cut in two at its median."""

    @pytest.fixture(autouse=True)
    def data(self, monkeypatch):
        def halves(values):
            return np.where(np.isnan(values), np.nan, values > np.nanmedian(values))

        def binary(*arguments, **options):
            data = score_input(*arguments, **options)
            return dataclasses.replace(data, ratings={name: halves(values) for name, values in data.ratings.items()})

        monkeypatch.setattr(scorers, "score_input", binary)


class TestContract(OfHalves, ScorerContract):
    component = AUC

    @pytest.fixture
    def make(self):
        return lambda context: AUC(AreaOptions(correction="max-t", permutations=20, split=0.5), context)


class TestThatImagesAreHeldOut(OfHalves, HoldsOutContract):
    @pytest.fixture
    def options(self):
        return AreaOptions(split=0.5)

    @pytest.fixture
    def create(self):
        return AUC


@pytest.fixture
def of_a_run(fake_run, monkeypatch):
    """A run with a number and whether the rectangle is red as ratings."""
    original = FakeImages._item

    def with_category(self, number):
        item = original(self, number)
        ratings = {"colour=red": float(item.metadata["colour"] == "red"), "heartbeats": number + 0.5}
        return dataclasses.replace(item, ratings=ratings)

    monkeypatch.setattr(FakeImages, "_item", with_category)
    scorers = "scorers=[{use='auc', min_active=2, alpha=0.5}]"
    settings = [
        "images.n=100",
        scorers,
        "selector.use=tiered",
        "selector.min_active=2",
        "store.use=npz",
        "reporters=[{use='html'}]",
    ]
    return saeviz.run(fake_run, settings=settings)


def test_a_run_selects_names_and_reports_by_it(of_a_run, saeviz_command):
    chosen = next(choice for choice in of_a_run.selected if choice.rating)
    row = next(row for row in of_a_run.correlations_of(chosen.feature) if row["rating"] == "colour=red")
    assert f"AUC {row['auc_area']:.2f} for colour=red (q " in chosen.reason
    assert "Twice the area under the ROC curve" in report_of(of_a_run).reading
    assert "DeLong" in report_of(of_a_run).reading
    assert "intervals of features on fewer than" not in report_of(of_a_run).reading, "too rare ones have none"
    shown = saeviz_command("show", str(chosen.feature), "--run", of_a_run.dir)
    assert f"auc_area {row['auc_area']:.4g}" in shown.out
    assert "heartbeats" not in shown.out
    table = pd.read_csv(of_a_run.dir / "selected.csv")
    assert table["measure"].dropna().unique().tolist() == ["rank-biserial r"]

"""Scorer `raters`: reliability against textbook figures and truth, relations against a mixed model and simulation."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.sparse import csr_array
from scipy.stats import binom, pearsonr
from statsmodels.stats.multitest import multipletests

import saeviz
from saeviz import (
    ConfigError,
    FeatureBatch,
    FeatureSpace,
    FeatureStream,
    IndividualRatings,
    ScoreColumn,
    ScoreFact,
    ScoreInput,
)
from saeviz.testing import ScorerContract
from saeviz_raters import RatersOptions
from saeviz_raters.relation import relations
from saeviz_raters.reliability import from_published, from_single_ratings
from saeviz_raters.scorer import Raters
from saeviz_raters.sums import make_design, sum_features
from tests.conftest import SHARED

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
"""Six targets and four judges, of Shrout and Fleiss (1979), whose intraclass correlations they print."""


def single(rows, raters, values):
    names = tuple(f"rater {code}" for code in range(max(raters, default=-1) + 1))
    return IndividualRatings(np.asarray(rows, np.int64), np.asarray(raters, np.int64), np.asarray(values, float), names)


def crossed(table):
    rows, raters = np.indices(table.shape)
    return single(rows.ravel(), raters.ravel(), table.ravel())


def make_input(dense, individual, ratings=None, metadata=None, size=50):
    dense = np.asarray(dense, np.float32)
    n = len(dense)
    space = FeatureSpace(7, "cls", dense.shape[1])
    ids = tuple(f"image {i}" for i in range(n))

    def read():
        for start in range(0, n, size):
            yield FeatureBatch(space, ids[start : start + size], csr_array(dense[start : start + size]))

    means = {name: mean_ratings(given, n) for name, given in individual.items()} if ratings is None else ratings
    return ScoreInput(space, ids, FeatureStream(space, read), None, means, individual, metadata or {})


def mean_ratings(given, n):
    count = np.bincount(given.rows, minlength=n)
    with np.errstate(invalid="ignore"):
        return np.bincount(given.rows, given.values, n) / count


def score(data, **options):
    scorer = Raters(RatersOptions(**options), saeviz.Context())
    results = list(scorer.score(data))
    columns = [result for result in results if isinstance(result, ScoreColumn)]
    results += scorer.combine(columns)
    columns = [result for result in results if isinstance(result, ScoreColumn)]
    facts = {result.name: result.value for result in results if isinstance(result, ScoreFact)}
    return {(column.name, column.target): column.values for column in columns}, facts["reliability"]


def study(generator, *, n=60, n_raters=12, per_image=None, slopes=0.0, slopes_of=5, effect=0.0, n_features=40):
    """Features, and single ratings: image, rater and noise effects, and raters who take to features differently.

    The mean slope over raters is `effect` for feature 0 and zero for the others.
    """
    features = generator.gamma(1.0, size=(n, n_features)) * (generator.random((n, n_features)) < 0.3)
    features[:, 0] += generator.random(n)
    if per_image is None:
        rows, raters = (part.ravel() for part in np.indices((n, n_raters)))
    else:
        rows = np.repeat(np.arange(n), per_image)
        raters = np.concatenate([generator.choice(n_raters, per_image, replace=False) for _ in range(n)])
    scaled = (features - features.mean(0)) / features.std(0)
    tastes = slopes * generator.normal(size=(n_raters, slopes_of))
    tastes[:, 0] += effect
    values = generator.normal(size=n)[rows] + 2 * generator.normal(size=n_raters)[raters]
    values += generator.normal(size=rows.size) + np.einsum("ij,ij->i", scaled[rows, :slopes_of], tastes[raters])
    return features.astype(np.float32), single(rows, raters, values)


def related(features, given):
    data = make_input(features, {"liking": given})
    design = make_design(given, data.n_items)
    return relations(sum_features(data, design), design)


class TestContract(ScorerContract):
    component = Raters

    @pytest.fixture
    def make(self):
        """The contract's data have no single ratings: three raters give each, a little around it."""

        class WithRaters(Raters):
            def score(self, data):
                individual = {}
                for name, values in data.ratings.items():
                    rated = np.flatnonzero(np.isfinite(values))
                    offsets = np.array([-1.0, 0.25, 0.75])
                    rows, raters = np.repeat(rated, 3), np.tile(np.arange(3), rated.size)
                    individual[name] = single(rows, list(raters), values[rows] + offsets[raters] * (rows % 3))
                return super().score(
                    ScoreInput(data.space, data.item_ids, data.features, data.embeddings, data.ratings, individual)
                )

        return lambda context: WithRaters(RatersOptions(), context)


def test_reliability_of_a_crossed_design_is_that_of_the_textbook():
    found = from_single_ratings(crossed(SHROUT_FLEISS), splits=50, seed=0)
    assert (found.model, found.n_images, found.n_raters, found.ratings_per_image) == ("two-way", 6, 4, 4.0)
    assert found.of_one == pytest.approx(0.29, abs=0.005)
    assert found.of_mean == pytest.approx(0.62, abs=0.005)
    assert found.reliability == pytest.approx(0.91, abs=0.005), "ICC(3,k), what raters who rate everything leave"
    assert found.ceiling_r == pytest.approx(np.sqrt(found.reliability))


def test_reliability_of_raters_who_differ_by_image_is_one_way():
    rows, columns = (part.ravel() for part in np.indices(SHROUT_FLEISS.shape))
    found = from_single_ratings(single(rows, list(4 * rows + columns), SHROUT_FLEISS.ravel()), splits=50, seed=0)
    assert found.model == "one-way"
    assert found.of_one == pytest.approx(0.17, abs=0.005)
    assert found.of_mean == found.reliability == pytest.approx(0.44, abs=0.005)


@pytest.mark.parametrize("seed", range(3))
def test_reliability_of_unequal_numbers_of_ratings_is_the_squared_correlation_with_the_truth(seed):
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=4000)
    rows = np.repeat(np.arange(4000), generator.integers(1, 9, 4000))
    values = 3 + truth[rows] + 1.5 * generator.normal(size=rows.size)
    given = single(rows, list(generator.integers(0, 10**6, rows.size)), values)
    found = from_single_ratings(given, splits=10, seed=seed)
    assert found.of_one == pytest.approx(1 / (1 + 1.5**2), abs=0.02)
    assert found.of_mean == pytest.approx(np.corrcoef(truth, mean_ratings(given, 4000))[0, 1] ** 2, abs=0.03)


@pytest.mark.parametrize("per_image", [6, None])
def test_split_half_agrees_with_the_analysis_of_variance(per_image):
    _, given = study(np.random.default_rng(3), n=800, n_raters=20, per_image=per_image)
    found = from_single_ratings(given, splits=40, seed=0)
    assert found.split_half == pytest.approx(found.reliability, abs=0.02)
    assert from_single_ratings(given, splits=40, seed=0) == found


def test_reliability_from_published_spreads_is_that_of_the_single_ratings():
    generator = np.random.default_rng(4)
    table = generator.normal(size=(2000, 1)) + 2 * generator.normal(size=(2000, 25))
    exact = from_single_ratings(single(*np.indices(table.shape).reshape(2, -1)[:1], range(50_000), table.ravel()), 1, 0)
    found = from_published(table.mean(axis=1), table.std(axis=1, ddof=1), np.full(2000, 25.0))
    assert found.reliability == pytest.approx(exact.of_mean, rel=1e-9)
    assert found.of_one == pytest.approx(exact.of_one, rel=1e-2)


def test_published_spreads_come_from_columns_of_the_table_and_gaps_are_left_out():
    means = {"liking": np.array([1.0, 4.0, 2.0, np.nan, 9.0, 5.0])}
    metadata = {"liking_sd": ["1", ".5", "1.5", "1", "oops", "1"], "liking_n": ["10", "10", "20", "10", "10", "0"]}
    data = make_input(np.eye(6), {}, means, metadata)
    columns, facts = score(data, sd={"liking": "liking_sd"}, n={"liking": "liking_n"})
    error = np.mean([1 / 10, 0.25 / 10, 2.25 / 20])
    assert facts["liking"]["n_images"] == 3
    assert facts["liking"]["reliability"] == pytest.approx(1 - error / np.var([1, 4, 2], ddof=1))
    assert columns == {}, "without single ratings there is nothing to say of features"


def test_published_spreads_become_numbers_of_images_as_the_options_promise():
    data = make_input(np.eye(3), {}, {"liking": np.ones(3), "n": np.full(3, 7.0)}, {"spread": ["1", "oops", ".5"]})
    options = RatersOptions(sd={"liking": "spread"}, n={"liking": "n"})
    scorer = Raters(options, saeviz.Context())
    found = [result for results in (scorer.score(data), scorer.score(data), scorer.combine([])) for result in results]
    of_images = {result.name: result.values for result in found if isinstance(result, saeviz.ImageColumn)}
    assert list(of_images) == options.columns_of_images(["liking", "n"]) == ["sd.liking", "raters.liking"]
    np.testing.assert_array_equal(of_images["sd.liking"], [1, np.nan, 0.5])
    np.testing.assert_array_equal(of_images["raters.liking"], [7, 7, 7])
    assert RatersOptions(ratings=("n",), sd=options.sd, n=options.n).columns_of_images(["liking", "n"]) == []


@pytest.mark.parametrize(
    "given",
    [
        single([], [], []),
        single([0, 1, 2], [0, 0, 0], [1, 2, 3]),
        single([0, 0, 1, 1], [0, 1, 0, 1], [0.1, 0.1, 0.1, 0.1]),
        single([0, 0], [0, 1], [1, 2]),
    ],
    ids=["nothing", "one rating an image", "constant", "one image"],
)
def test_what_cannot_be_estimated_is_nan_and_said(given, caplog):
    with caplog.at_level(logging.WARNING, "saeviz"), warnings.catch_warnings():
        warnings.simplefilter("error")
        columns, facts = score(make_input(np.eye(4), {"liking": given}))
    assert np.isnan(facts["liking"]["reliability"])
    assert np.isnan(facts["liking"]["ceiling_r"])
    assert "reliability of 'liking' cannot be estimated" in caplog.text
    assert all(np.isnan(columns[name, "liking"]).all() for name in ("rater_r", "rater_p", "rater_q"))


def test_reliability_does_not_depend_on_the_size_of_the_ratings():
    small, large = (from_single_ratings(crossed(size * SHROUT_FLEISS), 50, 0) for size in (1.0, 1e100))
    assert vars(large) == pytest.approx(vars(small))


def test_raters_who_agree_on_nothing_have_a_ceiling_of_zero():
    table = np.array([[1.0, 2], [2, 1], [1, 2], [2, 1.2]])
    found = from_single_ratings(single(*np.indices(table.shape).reshape(2, -1)[:1], range(8), table.ravel()), 5, 0)
    assert found.reliability < 0
    assert found.ceiling_r == 0


def test_the_estimate_and_its_error_are_those_of_the_crossed_mixed_model():
    from statsmodels.regression.mixed_linear_model import MixedLM

    features, given = study(np.random.default_rng(0), n=30, n_raters=10, slopes=0.6, effect=0.5, slopes_of=1)
    x = features[:, 0].astype(float)
    frame = pd.DataFrame({"y": given.values, "x": x[given.rows], "image": given.rows, "rater": given.raters})
    frame["all"] = 1
    variances = {"image": "0 + C(image)", "rater": "0 + C(rater)", "slope": "0 + C(rater):x"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = MixedLM.from_formula("y ~ x", frame, groups="all", vc_formula=variances, re_formula="0").fit(reml=True)
    found = related(features, given)
    assert found.slope[0] == pytest.approx(fit.params["x"], abs=1e-6)
    assert found.error[0] == pytest.approx(fit.bse["x"], rel=0.03)


def test_with_raters_who_agree_it_is_the_correlation_with_the_mean():
    generator = np.random.default_rng(1)
    features, _ = study(generator)
    table = generator.normal(size=(60, 1)) + 5 * generator.normal(size=(1, 8)) + np.zeros((60, 8))
    found = related(features, crossed(table))
    expected = [pearsonr(feature, table.mean(axis=1)) for feature in features.T.astype(float)]
    np.testing.assert_allclose(found.r, [result.statistic for result in expected], rtol=1e-9)
    np.testing.assert_allclose(found.p, [result.pvalue for result in expected], rtol=1e-6)


def test_r_is_the_correlation_of_what_is_left_after_the_mean_of_each_rater():
    features, given = study(np.random.default_rng(2), n=50, n_raters=9, per_image=4, slopes=0.3)
    frame = pd.DataFrame({"y": given.values, "rater": given.raters})
    columns, _ = score(make_input(features, {"liking": given}))
    for feature in range(5):
        frame["x"] = features[given.rows, feature].astype(float)
        within = frame[["x", "y"]] - frame.groupby("rater")[["x", "y"]].transform("mean")
        assert columns["rater_r", "liking"][feature] == pytest.approx(within["x"].corr(within["y"]), abs=1e-9)
    varies = frame.groupby("rater")["x"].nunique() > 1
    assert columns["rater_n_raters", "liking"][4] == varies.sum()


def test_images_that_only_raters_of_one_image_rated_do_not_count():
    features, given = study(np.random.default_rng(3), n=30, n_raters=5, per_image=2)
    lone = single([*given.rows, 30, 0], [*given.raters, 5, 6], [*given.values, 1.0, 2.0])
    columns, _ = score(make_input(np.vstack([features, features[:1]]), {"liking": lone}))
    assert set(columns["rater_n", "liking"]) == {30}


@pytest.mark.parametrize(
    "design",
    [
        {"n_raters": 12, "slopes": 0.0},
        {"n_raters": 12, "slopes": 0.5},
        {"n": 120, "n_raters": 15, "per_image": 4, "slopes": 0.0},
        {"n": 120, "n_raters": 15, "per_image": 4, "slopes": 0.5},
        {"n": 150, "n_raters": 20, "per_image": 1, "slopes": 0.5},
    ],
    ids=["crossed", "crossed, tastes", "some raters each", "some raters each, tastes", "one rater each, tastes"],
)
def test_without_a_relation_few_p_are_small_though_raters_differ_in_level_and_taste(design):
    """Raters shift the scale and take to five features, each in its own way, with a mean over raters of zero."""
    generator = np.random.default_rng(5)
    p = np.array([related(*study(generator, n_features=20, **design)).p for _ in range(150)])
    for part in (p[:, :5], p[:, 5:]):
        # Features of one run share their ratings, so runs are counted, not features.
        assert part.mean() > 0.45
        assert (part < 0.05).mean() <= binom.ppf(0.999, 150, 0.05) / 150


@pytest.mark.parametrize("n_raters", [2, 3, 4, 5, 7])
def test_few_raters_who_differ_make_no_small_p_out_of_nothing(n_raters):
    """The case in which p < .001 once came up in up to 3 % of cases: tastes of few raters that agree by chance."""
    generator = np.random.default_rng(6)
    p = np.concatenate(
        [
            related(*study(generator, n=150, n_features=20, n_raters=n_raters, slopes=1.0, slopes_of=20)).p
            for _ in range(150)
        ]
    )
    assert np.isfinite(p).all()
    for level in (0.05, 0.01, 0.001):
        assert (p < level).sum() <= binom.ppf(0.999, p.size, level)


@pytest.mark.parametrize(("n_raters", "warns"), [(2, True), (7, True), (8, False)])
def test_below_eight_raters_there_is_a_warning_once(n_raters, warns, caplog):
    features, given = study(np.random.default_rng(4), n=40, n_raters=n_raters)
    scorer = Raters(RatersOptions(), saeviz.Context())
    for _ in range(2):
        list(scorer.score(make_input(features, {"liking": given})))
    assert caplog.text.count(f"only {n_raters} raters gave 'liking'") == warns


def test_groups_of_images_are_not_known_and_that_is_said_once(caplog):
    features, given = study(np.random.default_rng(4), n=40, n_raters=9)
    data = replace(make_input(features, {"liking": given}), groups=("a", "b") * 20)
    scorer = Raters(RatersOptions(), saeviz.Context())
    for _ in range(2):
        list(scorer.score(data))
    assert caplog.text.count("raters: the images belong to groups") == 1


def test_an_effect_that_raters_share_is_found():
    generator = np.random.default_rng(6)
    p = [related(*study(generator, n=150, n_raters=15, effect=0.6, slopes=0.2)).p[0] for _ in range(30)]
    assert np.mean(np.array(p) < 0.001) > 0.9


def test_raters_and_features_in_pieces_are_the_same(monkeypatch):
    features, given = study(np.random.default_rng(7), n_raters=11, per_image=5, slopes=0.3)
    whole = related(features, given)
    monkeypatch.setattr("saeviz_raters.sums.TABLE_SIZE", 3 * features.shape[1])
    for name, values in vars(related(features, given)).items():
        np.testing.assert_allclose(values, getattr(whole, name), rtol=1e-9, err_msg=name)


def test_features_that_are_on_everywhere_keep_their_digits():
    features, given = study(np.random.default_rng(8))
    moved = features.copy()
    moved[:, 0] = np.float32(4000) + features[:, 0] / 64
    small = (moved[:, 0].astype(float) - 4000).astype(np.float32)
    moved[:, 1] = 7
    found = related(moved, given)
    assert found.r[0] == pytest.approx(related(np.column_stack([small, features]), given).r[0], rel=1e-9)
    assert np.isnan(found.r[1])


def test_the_family_is_what_was_tested():
    features, given = study(np.random.default_rng(9), n=80, effect=1.0)
    features[:, 1] = 0
    features[9:, 2] = 0
    columns, _ = score(make_input(features, {"liking": given}), min_active=10)
    p, q = columns["rater_p", "liking"], columns["rater_q", "liking"]
    assert np.isnan(p[[1, 2]]).all()
    assert np.isfinite(columns["rater_r", "liking"][2])
    np.testing.assert_allclose(q[~np.isnan(p)], multipletests(p[~np.isnan(p)], method="fdr_bh")[1], rtol=1e-9)
    assert np.array_equal(np.isnan(q), np.isnan(p))
    assert columns["rater_significant", "liking"][0] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratings": ("likng",)}, "scorers.raters.ratings: the images have no rating 'likng'; did you mean 'liking'?"),
        ({"sd": {"x": "a"}, "n": {"x": "a"}}, "scorers.raters.sd: the images have no rating 'x'"),
        (
            {"sd": {"liking": "s"}, "n": {"liking": "m"}},
            "raters.n: the images have no rating or metadata 'm'; there are",
        ),
    ],
)
def test_a_wrong_name_is_named(options, message):
    data = make_input(np.eye(6), {"liking": crossed(SHROUT_FLEISS)}, metadata={"s": ["1"] * 6})
    with pytest.raises(ConfigError) as caught:
        score(data, **options)
    assert message in str(caught.value)


def test_spreads_without_numbers_of_raters_are_refused():
    with pytest.raises(ValidationError, match="sd and n belong together: 'liking'"):
        RatersOptions(sd={"liking": "liking_sd"})


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the OASIS test data beside the repository")
def test_oasis_means_are_reliable():
    table = pd.read_csv(SHARED / "oasis" / "ratings.csv")
    found = {
        name: from_published(*(table[column].to_numpy(float) for column in (name, f"{name}_sd", f"{name}_n")))
        for name in ("valence", "arousal", "beauty")
    }
    assert all(0.9 < rating.reliability < 1 and rating.n_images == 659 for rating in found.values())
    assert found["arousal"].reliability < found["valence"].reliability, "people differ more in what moves them"


def test_of_single_ratings_of_many_only_the_reliability_is_computed(caplog):
    generator = np.random.default_rng(0)
    dense = generator.random((12, 3))
    given = {f"voxel {number}": crossed(generator.normal(size=(12, 3))) for number in range(101)}
    with caplog.at_level(logging.INFO):
        columns, reliability = score(make_input(dense, given), splits=1)
    assert not columns
    assert len(reliability) == 101
    assert caplog.text.count("raters: only reliability and ceiling are computed for 101 ratings; for relations") == 1
    assert score(make_input(dense, given), splits=1, ratings=("voxel 3",), min_active=1)[0]

"""Scorers `spearman`, `point-biserial` and `partial`: every pair as SciPy and statsmodels have it."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats

import saeviz
from saeviz import ConfigError, FeatureStream, ScoreInput
from saeviz.testing import HoldsOutContract, ScorerContract, scorers
from saeviz.testing.data import score_input
from saeviz_correlation import ranks, saeviz_scorers
from saeviz_correlation.columns import feature_blocks
from saeviz_correlation.options import LinearOptions, PartialOptions
from saeviz_correlation.partial import Partial
from saeviz_correlation.scorer import PearsonBH, PointBiserial
from saeviz_correlation.spearman import Spearman
from tests.plugins.correlations import hard_data, make_input, score

SCORERS = {
    "pearson-bh": {"scorer": PearsonBH},
    "spearman": {"scorer": Spearman},
    "point-biserial": {"scorer": PointBiserial},
    "partial": {"scorer": Partial, "options": PartialOptions, "control": ["brightness", "kind"]},
}
PREFIX = {"pearson-bh": "", "spearman": "spearman_", "point-biserial": "point_biserial_", "partial": "partial_"}


def data_with_controls(size=64):
    """The hard data with some features below zero, a rating and metadata to hold constant."""
    features, ratings = hard_data()
    generator = np.random.default_rng(1)
    n = len(features)
    features[:, 11] -= 0.5 * (generator.random(n) < 0.4)
    features[:, 12] *= -1
    features = features.astype(np.float32).astype(np.float64)
    brightness = features[:, 8] + generator.normal(size=n)
    brightness[generator.choice(n, 9, replace=False)] = np.nan
    kind = generator.choice(["", "animal", "person", "scene"], n, p=[0.1, 0.3, 0.3, 0.3])
    shade = [f"{value:.3f}" for value in generator.normal(size=n)]
    ratings = {**ratings, "brightness": brightness}
    data = make_input(features, ratings, size, metadata={"kind": kind.tolist(), "shade": shade})
    return features, ratings, data


def controls_matrix(data, names):
    """A column per control as a textbook has it: numbers as they are, categories as zeros and ones."""
    columns = []
    for name in names:
        if name == "kind":
            kind = np.array(data.metadata["kind"])
            columns += [np.where(kind == "", np.nan, kind == level) for level in ("animal", "person", "scene")]
        else:
            columns.append(np.asarray(data.ratings.get(name, data.metadata.get(name)), dtype=float))
    return np.column_stack(columns)


def partial_of_pair(x, y, controls):
    """r and p of the feature's coefficient in an ordinary linear model; NaN where there is none."""
    n = len(x)
    design = np.column_stack([np.ones(n), controls])
    df = n - 1 - np.linalg.matrix_rank(design)
    if df < 1 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x - x.mean(), y - y.mean())]
    if min(np.linalg.norm(v) / np.linalg.norm(w - w.mean()) for v, w in zip(left, (x, y), strict=True)) < 1e-6:
        return np.nan, np.nan
    fit = sm.OLS(y - y.mean(), np.column_stack([design, left[0] / np.linalg.norm(left[0])])).fit()
    t = fit.tvalues[-1]
    return t / np.sqrt(t**2 + df), fit.pvalues[-1]


def one_at_a_time(name, x, y, controls):
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan
    if name == "partial":
        return partial_of_pair(x, y, controls)
    if name == "point-biserial":
        return stats.pointbiserialr(x > 0, y) if 0 < (x > 0).sum() < len(x) else (np.nan, np.nan)
    return {"pearson-bh": stats.pearsonr, "spearman": stats.spearmanr}[name](x, y)


@pytest.mark.parametrize("size", [7, 120])
@pytest.mark.parametrize("name", SCORERS)
def test_equals_scipy_and_statsmodels_for_every_pair(name, size):
    features, ratings, data = data_with_controls(size)
    columns, _ = score(data, **SCORERS[name])
    controls = controls_matrix(data, ["brightness", "kind"])

    for rating, y in ratings.items():
        if name == "partial" and rating == "brightness":
            assert (PREFIX[name] + "r", rating) not in columns  # held constant
            continue
        usable = np.isfinite(y) & (np.isfinite(controls).all(axis=1) | (name != "partial"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nearly constant input is meant here
            expected = [one_at_a_time(name, x[usable], y[usable], controls[usable]) for x in features.T]
        r, p = np.array(expected).T
        np.testing.assert_allclose(columns[PREFIX[name] + "r", rating], r, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(columns[PREFIX[name] + "p", rating], p, rtol=1e-6, atol=1e-12)
        np.testing.assert_array_equal(columns[PREFIX[name] + "n", rating], usable.sum())
        np.testing.assert_array_equal(columns[PREFIX[name] + "n_active", rating], (features[usable] > 0).sum(axis=0))


@pytest.mark.parametrize("name", SCORERS)
def test_neither_batch_size_nor_order_of_images_matters(name):
    features, ratings, data = data_with_controls()
    order = np.random.default_rng(2).permutation(len(features))
    metadata = {key: [cells[row] for row in order] for key, cells in data.metadata.items()}
    shuffled = make_input(features[order], {key: y[order] for key, y in ratings.items()}, 11, metadata=metadata)
    columns, _ = score(data, **SCORERS[name])
    others, _ = score(shuffled, **SCORERS[name])

    for key, values in columns.items():
        np.testing.assert_allclose(others[key], values, rtol=1e-6, atol=1e-9, err_msg=str(key))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 40), levels=st.integers(1, 6), sparsity=st.floats(0, 1))
def test_ranks_of_ties_zeros_and_negative_values_are_those_of_scipy(seed, n, levels, sparsity):
    generator = np.random.default_rng(seed)
    dense = generator.integers(-levels, levels + 1, (n, 5)) / 4 * (generator.random((n, 5)) < sparsity)
    rated = generator.random(n) < 0.8
    block = next(iter(feature_blocks(make_input(dense, {}), lambda matrix: matrix)))[1]
    found = ranks.rank_features(block, rated).toarray()[:, rated]

    for values, offsets in zip(dense[rated].T, found, strict=True):
        expected = stats.rankdata(values)
        zero = values == 0
        assert not offsets[zero].any()
        if zero.any():
            expected = expected - expected[zero][0]
            np.testing.assert_array_equal(offsets, expected)
        elif len(values):
            np.testing.assert_array_equal(offsets - offsets[0], expected - expected[0])


def test_ranking_in_pieces_changes_nothing(monkeypatch):
    data = data_with_controls()[2]
    whole, _ = score(data, scorer=Spearman)
    monkeypatch.setattr(ranks, "MAX_ENTRIES", 50)
    pieces, _ = score(data, scorer=Spearman)

    for key, values in whole.items():
        np.testing.assert_array_equal(pieces[key], values)


@pytest.mark.parametrize("max_entries", [1, 40, 200, 10**6])
def test_blocks_of_features_hold_everything_once_and_no_more_than_allowed(max_entries):
    features, _ = hard_data()
    data = make_input(features, {}, size=13)
    blocks = list(feature_blocks(data, lambda matrix: matrix, max_entries))

    assert [features.start for features, _ in blocks[1:]] == [features.stop for features, _ in blocks[:-1]]
    np.testing.assert_array_equal(np.vstack([block.toarray() for _, block in blocks]), features.T.astype(np.float32))
    assert all(block.nnz <= max_entries or block.shape[0] == 1 for _, block in blocks)


@pytest.mark.parametrize("name", SCORERS)
def test_features_are_streamed_and_never_loaded_whole(name):
    _, ratings, data = data_with_controls(size=5)
    passes = []

    def read():
        passes.append(1)
        return data.features.batches()

    streamed = ScoreInput(
        data.space, data.item_ids, FeatureStream(data.space, read), None, ratings, metadata=data.metadata
    )
    streamed.features.matrix = None  # is never asked for
    score(streamed, **SCORERS[name])

    assert len(passes) == (2 if name == "spearman" else 1)


def test_the_interval_of_spearman_is_that_of_bonett_and_wright():
    _, ratings, data = data_with_controls()
    columns, _ = score(data, scorer=Spearman)
    r, n = columns["spearman_r", "gappy"], np.isfinite(ratings["gappy"]).sum()
    half = stats.norm.ppf(0.975) * np.sqrt((1 + r**2 / 2) / (n - 3))
    with np.errstate(divide="ignore"):  # one feature has the order of the rating: r = 1
        z = np.arctanh(r)

    np.testing.assert_allclose(columns["spearman_ci_low", "gappy"], np.tanh(z - half), rtol=1e-9)
    np.testing.assert_allclose(columns["spearman_ci_high", "gappy"], np.tanh(z + half), rtol=1e-9)


def partial(data, *control, **options):
    return score(data, scorer=Partial, options=PartialOptions, control=control, **options)


def test_what_the_controls_explain_wholly_has_no_partial_correlation(caplog):
    generator = np.random.default_rng(3)
    kind = generator.integers(0, 3, 90)
    features = np.column_stack([kind * 0.7 + 0.1, generator.random(90), 3 - kind])
    ratings = {"of kind": kind * 2.0, "liking": generator.normal(size=90)}
    columns, _ = partial(make_input(features, ratings, metadata={"kind": [f"k{code}" for code in kind]}), "kind")

    assert np.isnan(columns["partial_r", "of kind"]).all()
    assert "rating 'of kind' has no correlations" in caplog.text
    np.testing.assert_array_equal(np.isnan(columns["partial_r", "liking"]), [True, False, True])


def test_a_confounder_is_taken_out():
    generator = np.random.default_rng(4)
    bright = generator.random(4000)
    features = np.column_stack([bright + 0.1 * generator.random(4000)] * 2)
    data = make_input(features, {"liking": bright + generator.normal(size=4000), "bright": bright})
    plain, _ = score(data, ratings=["liking"])
    held, _ = partial(data, "bright")

    assert (plain["r", "liking"] > 0.2).all()
    assert (np.abs(held["partial_r", "liking"]) < 0.06).all()


def test_doubled_and_constant_controls_cost_no_degree_of_freedom():
    _, _, data = data_with_controls()
    metadata = {**data.metadata, "shade again": data.metadata["shade"], "same": ["1"] * data.n_items}
    data = ScoreInput(data.space, data.item_ids, data.features, None, data.ratings, metadata=metadata)
    once, _ = partial(data, "shade")
    thrice, _ = partial(data, "shade", "shade again", "same")

    np.testing.assert_allclose(thrice["partial_p", "complete"], once["partial_p", "complete"], rtol=1e-7)


def test_a_column_is_numbers_where_every_cell_is_and_empty_cells_are_left_out(caplog):
    generator = np.random.default_rng(5)
    n = 60
    features = generator.random((n, 3))
    cells = [f"{value:.6f}" for value in generator.normal(size=n)]
    missing = ["", " ", "nan", *cells[3:]]
    data = make_input(features, {"liking": generator.normal(size=n)}, metadata={"shade": cells, "some": missing})
    with caplog.at_level(logging.INFO):
        columns, _ = partial(data, "some")
    expected = [
        partial_of_pair(x[3:], data.ratings["liking"][3:], np.array(cells[3:], dtype=float)[:, None])[0]
        for x in features.astype(np.float32).T
    ]

    np.testing.assert_allclose(columns["partial_r", "liking"], expected, rtol=1e-6)
    assert "some (number)" in caplog.text
    assert "3 of 60 images left out" in caplog.text


@pytest.mark.parametrize("write", [lambda v: f"{v:.4f}".replace(".", ","), lambda v: f"{v:.4f}".replace("-", "\u2212")])
def test_numbers_of_metadata_are_read_as_ratings_are(write, caplog):
    generator = np.random.default_rng(5)
    values, features = generator.normal(size=60).round(4), generator.random((60, 3))
    liking = {"liking": generator.normal(size=60)}
    plain = make_input(features, liking, metadata={"shade": ["", "", *(f"{value:.4f}" for value in values[2:])]})
    other = make_input(features, liking, metadata={"shade": ["n.a.", "-", *map(write, values[2:])]})
    expected, _ = partial(plain, "shade")
    with caplog.at_level(logging.INFO):
        columns, _ = partial(other, "shade")

    np.testing.assert_array_equal(columns["partial_r", "liking"], expected["partial_r", "liking"])
    assert "shade (number)" in caplog.text


def test_numbers_with_words_behind_them_are_a_category(caplog):
    generator = np.random.default_rng(5)
    cells = ["1 - indoor", "2 - outdoor", "3 - neither"] * 20
    data = make_input(generator.random((60, 3)), {"liking": generator.normal(size=60)}, metadata={"place": cells})
    with caplog.at_level(logging.INFO):
        partial(data, "place")

    assert "place (3 categories)" in caplog.text


def test_a_name_or_an_id_is_no_category():
    data = make_input(np.eye(150), {"liking": np.arange(150.0)}, metadata={"artist": [f"a{i}" for i in range(150)]})

    with pytest.raises(
        ConfigError, match=r"scorers\.partial\.control: 'artist' has 150 different values, such as 'a0'"
    ):
        partial(data, "artist")


def test_an_infinite_control_is_refused():
    data = make_input(np.eye(4), {"liking": np.arange(4.0)}, metadata={"shade": ["1", "inf", "", "2"]})

    with pytest.raises(ConfigError, match="'shade' has an infinite value"):
        partial(data, "shade")


def test_a_rating_asked_for_twice_is_correlated_once():
    _, _, data = data_with_controls()
    once, _ = score(data, ratings=["steps"])
    twice, _ = score(data, ratings=["steps", "steps"])

    assert twice.keys() == once.keys()
    np.testing.assert_array_equal(twice["q", "steps"], once["q", "steps"])


def test_an_unknown_control_is_refused_with_the_nearest_name():
    _, _, data = data_with_controls()

    with pytest.raises(ConfigError, match=r"no rating, metadata or column 'brigthness'; did you mean 'brightness'"):
        partial(data, "brigthness")


@pytest.mark.parametrize("n_controls", [3, 8, 20])
def test_as_many_controls_as_images_leave_nan(n_controls):
    generator = np.random.default_rng(6)
    ratings = {f"c{i}": generator.normal(size=10) for i in range(n_controls)}
    data = make_input(generator.random((10, 4)), {"liking": generator.normal(size=10), **ratings})
    columns, _ = partial(data, *(name for name in ratings if name != "liking"))

    assert np.isnan(columns["partial_r", "liking"]).all() == (n_controls >= 8)
    assert np.isnan(columns["partial_p", "liking"]).all() == (n_controls >= 8)


@pytest.mark.parametrize(
    "wrong", [{}, {"control": []}, {"control": ["kind"], "ratings": ["kind"]}, {"control": ["a"], "split": 1.0}]
)
def test_impossible_options_of_partial_are_refused(wrong):
    with pytest.raises(ValidationError):
        PartialOptions(**wrong)


@pytest.mark.parametrize("name", SCORERS)
def test_a_rating_as_large_as_numbers_go_gives_the_same_r(name):
    features, ratings, data = data_with_controls()
    huge = make_input(
        features, {**ratings, "complete": ratings["complete"] * 1e300}, metadata=dict(data.metadata.items())
    )
    columns, _ = score(data, **SCORERS[name])
    others, _ = score(huge, **SCORERS[name])

    key = PREFIX[name] + "r", "complete"
    np.testing.assert_allclose(others[key], columns[key], rtol=1e-9)


def test_the_names_of_all_scorers_are_different_columns():
    """One table holds all of them."""
    _, _, data = data_with_controls()
    names = [set(score(data, **arguments)[0]) for arguments in SCORERS.values()]

    assert sum(map(len, names)) == len(set().union(*names))
    assert {spec.name for spec in saeviz_scorers()} == {*SCORERS, "auc", "moderation"}  # which have files of their own


class TestContractOfSpearman(ScorerContract):
    component = Spearman

    @pytest.fixture
    def make(self):
        return lambda context: Spearman(LinearOptions(), context)


class TestContractOfPointBiserial(ScorerContract):
    component = PointBiserial

    @pytest.fixture
    def make(self):
        return lambda context: PointBiserial(LinearOptions(split=0.6), context)


class TestContractOfPartial(ScorerContract):
    component = Partial

    @pytest.fixture
    def make(self):
        return lambda context: Partial(PartialOptions(control=["liking"], correction="by", family="rating"), context)


class TestContractOfMaxT(ScorerContract):
    component = PearsonBH

    @pytest.fixture
    def make(self):
        return lambda context: PearsonBH(LinearOptions(correction="max-t", permutations=20), context)


class TestContractOfSpearmanMaxT(ScorerContract):
    component = Spearman

    @pytest.fixture
    def make(self):
        options = LinearOptions(correction="max-t", permutations=20, family="space", split=0.5)
        return lambda context: Spearman(options, context)


@pytest.mark.parametrize(
    ("create", "options"),
    [
        (PearsonBH, LinearOptions(split=0.5)),
        (Spearman, LinearOptions(split=0.4)),
        (PointBiserial, LinearOptions(split=0.6)),
        (Partial, PartialOptions(control=["light"], split=0.5)),
    ],
    ids=["pearson-bh", "spearman", "point-biserial", "partial"],
)
class TestThatImagesAreHeldOut(HoldsOutContract):
    @pytest.fixture(autouse=True)
    def data(self, monkeypatch):
        def with_light(*arguments, **options):
            data = score_input(*arguments, **options)
            return replace(data, metadata={"light": [str(number % 7) for number in range(data.n_items)]})

        monkeypatch.setattr(scorers, "score_input", with_light)


def test_a_partial_factory_needs_its_own_options():
    scorer = Partial(PartialOptions(control=["x"]), saeviz.Context())

    assert scorer.options.control == ("x",)


@pytest.mark.parametrize("offset", [0.0, 1e6, -1e12])
def test_r_with_a_rating_far_from_zero_is_that_of_scipy(offset):
    generator = np.random.default_rng(1)
    dense = (generator.gamma(1, size=(80, 6)) * (generator.random((80, 6)) < 0.5)).astype(np.float32)
    rating = dense[:, 3] + generator.normal(size=80) + offset
    columns = saeviz.component("scorer", "pearson-bh", min_active=1).score(make_input(dense, {"date": rating}))
    r = next(one.values for one in columns if one.name == "r")
    expected = [stats.pearsonr(dense[:, one].astype(float), rating - offset)[0] for one in range(6)]
    np.testing.assert_allclose(r, expected, atol=1e-10)

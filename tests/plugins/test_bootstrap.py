"""Bootstrap intervals of significant correlations, and how often they would be found again."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import bootstrap, norm, pearsonr
from scipy.stats import t as student

import saeviz
from saeviz_correlation.bootstrap import Bootstrap, Samples, bca, significant_from
from saeviz_correlation.options import BootstrapOptions, PartialOptions
from saeviz_correlation.partial import Partial
from saeviz_correlation.scorer import PearsonBH, PointBiserial
from saeviz_correlation.targets import make_targets

N, N_FEATURES = 120, 8


def data_of(features, ratings, groups=None):
    space = saeviz.FeatureSpace(3, "cls", features.shape[1])
    ids = tuple(f"image {number}" for number in range(len(features)))
    batch = saeviz.FeatureBatch(space, ids, csr_array(features.astype(np.float32)))
    return saeviz.ScoreInput(
        space, ids, saeviz.FeatureStream(space, lambda: iter([batch])), None, ratings, groups=groups
    )


def made_up(groups=None, n=N):
    random = np.random.default_rng(5)
    rating = random.normal(size=n)
    features = np.where(random.random((n, N_FEATURES)) < 0.4, random.exponential(size=(n, N_FEATURES)), 0)
    features[:, ::2] *= np.exp(0.9 * rating[:, None])
    rating[3] = np.nan
    return data_of(features, {"beauty": rating, "noise": random.normal(size=n)}, groups)


def scored(data, scorer=PearsonBH, **options):
    made = scorer(BootstrapOptions.model_validate({"bootstrap": 200, **options}), saeviz.Context(seed=3))
    columns = list(made.score(data))
    combined = [one for one in made.combine(columns) if isinstance(one, saeviz.ScoreColumn)]
    return {(one.name.removeprefix(made.prefix), one.target): one.values for one in (*columns, *combined)}


@pytest.mark.parametrize("n_groups", [None, 24])
def test_samples_and_intervals_are_those_of_scipy(n_groups):
    codes = None if n_groups is None else np.arange(N) % n_groups
    data = made_up()
    [targets] = [one for one in make_targets(data, ["beauty"], np.ones(N, dtype=bool)) if "beauty" in one.names]
    samples = Samples(targets, Bootstrap(300, 3, codes))
    block = csr_array(data.features.matrix().T)
    [(_, (of_samples, without_one))] = samples.correlations(block, {0: np.array([0, 3, 4])})
    x, y = block.toarray()[:, targets.rated].astype(float), data.ratings["beauty"][targets.rated]
    own = np.arange(y.size) if codes is None else codes[targets.rated]
    members = [np.flatnonzero(own == code) for code in np.unique(own)]
    for place, feature in enumerate((0, 3, 4)):
        for sample in (0, 299):
            rows = np.concatenate([np.tile(members[k], n) for k, n in enumerate(samples.counts[:, sample]) if n])
            assert of_samples[place, sample] == pytest.approx(pearsonr(x[feature, rows], y[rows])[0], abs=1e-9)

        def r(chosen, values=x[feature]):
            rows = np.concatenate([members[k] for k in chosen.astype(int)])
            return pearsonr(values[rows], y[rows])[0]

        drawn = SimpleNamespace(bootstrap_distribution=of_samples[place])
        each = np.arange(len(members))
        expected = bootstrap((each,), r, n_resamples=0, vectorized=False, bootstrap_result=drawn, method="BCa")
        estimate = np.array([r(each)])
        found = bca(estimate, of_samples[[place]], without_one[[place]])
        assert [end[0] for end in found] == pytest.approx(list(expected.confidence_interval), abs=1e-9)


@pytest.mark.parametrize("n_groups", [None, 80])
def test_significant_correlations_have_an_interval_and_a_stability(n_groups):
    n = 400
    groups = None if n_groups is None else tuple(f"group {number % n_groups}" for number in range(n))
    found = scored(made_up(groups, n))
    significant = found["significant", "beauty"] == 1
    assert significant.any()
    assert not significant.all()
    for name in ("ci_low_bootstrap", "ci_high_bootstrap", "stability"):
        for rating in ("beauty", "noise"):
            assert np.array_equal(np.isfinite(found[name, rating]), found["significant", rating] == 1)
    r, low, high = (found[name, "beauty"][significant] for name in ("r", "ci_low_bootstrap", "ci_high_bootstrap"))
    assert ((low < r) & (r < high)).all()
    assert low == pytest.approx(found["ci_low", "beauty"][significant], abs=0.2)
    assert ((found["stability", "beauty"][significant] > 0.5) & (found["stability", "beauty"][significant] <= 1)).all()


def test_stability_is_the_share_of_samples_with_a_significant_r_of_the_same_sign():
    data = made_up()
    found = scored(data, bootstrap=500)
    [targets] = [one for one in make_targets(data, ["beauty"], np.ones(N, dtype=bool)) if "beauty" in one.names]
    samples = Samples(targets, Bootstrap(500, 3, None))
    block = csr_array(data.features.matrix().T)
    [(_, (of_samples, _))] = samples.correlations(block, {0: np.arange(N_FEATURES)})
    n, q = targets.n, np.concatenate([found["q", rating] for rating in ("beauty", "noise")])
    largest_p = 0.05 * np.count_nonzero(q <= 0.05) / q.size
    t = of_samples * np.sqrt((n - 2) / (1 - of_samples**2)) * np.sign(found["r", "beauty"])[:, None]
    again = (2 * student.sf(t, n - 2) <= largest_p) & (t > 0)
    significant = found["significant", "beauty"] == 1
    assert found["stability", "beauty"][significant] == pytest.approx(again[significant].mean(axis=1), abs=0.01)


def test_of_normal_values_stability_is_the_power_at_r():
    assert significant_from(np.tanh([0.3, -0.3]), 2 * norm.sf([3, 3]), 2 * norm.sf(2)) == pytest.approx([0.2, 0.2])
    assert significant_from(np.array([0.99]), np.array([0.0]), 0.01) == pytest.approx(0)


def test_the_same_seed_gives_the_same_and_another_one_another():
    data = made_up()
    one, other = scored(data), scored(data)
    assert all(np.array_equal(one[key], other[key], equal_nan=True) for key in one)
    more = scored(data, bootstrap=300)
    assert not np.array_equal(one["stability", "beauty"], more["stability", "beauty"], equal_nan=True)


def test_a_feature_that_many_samples_lack_has_no_interval():
    rating = np.random.default_rng(0).normal(size=N)
    features = np.zeros((N, 2))
    features[:, 0] = rating > 1
    features[0, 1] = 1.0
    rating[0] = 9.0
    found = scored(data_of(features, {"beauty": rating}), min_active=1)
    assert found["significant", "beauty"].tolist() == [1, 1]
    assert np.isfinite(found["ci_low_bootstrap", "beauty"][0])
    assert np.isnan(found["ci_low_bootstrap", "beauty"][1])
    assert found["stability", "beauty"][1] == pytest.approx(1 - np.exp(-1), abs=0.1), "it fires in these samples only"


def test_with_a_split_samples_are_of_the_images_on_which_relations_were_found():
    n = 300
    data = made_up(n=n)
    found = scored(data, split=0.5)
    finding = saeviz.finding_images(data.item_ids, 0.5, 3)
    rows = np.flatnonzero(finding)
    half = data_of(data.features.matrix().toarray()[rows], {k: v[rows] for k, v in data.ratings.items()})
    alone = scored(half)
    assert found["r", "beauty"] == pytest.approx(alone["r", "beauty"])
    assert found["ci_low_bootstrap", "beauty"] == pytest.approx(alone["ci_low_bootstrap", "beauty"], nan_ok=True)


def test_point_biserial_draws_whether_a_feature_fires():
    data = made_up()
    fires = data_of((data.features.matrix().toarray() > 0).astype(float), dict(data.ratings))
    options = {"alpha": 0.6}
    found, expected = scored(data, PointBiserial, **options), scored(fires, **options)
    assert np.isfinite(expected["stability", "beauty"]).any()
    assert found["stability", "beauty"] == pytest.approx(expected["stability", "beauty"], nan_ok=True)


def test_without_the_option_there_are_no_such_columns():
    made = PearsonBH(BootstrapOptions(), saeviz.Context())
    columns = list(made.score(made_up()))
    assert not any("stability" in one.name for one in (*columns, *made.combine(columns)))


def test_mistakes():
    with pytest.raises(ValueError, match="bootstrap: 99 samples are too few; use at least 100, or 0"):
        BootstrapOptions(bootstrap=99)
    with pytest.raises(ValueError, match="bootstrap draws whole groups, which are too few"):
        BootstrapOptions(bootstrap=100, errors="permutation")
    with pytest.raises(saeviz.ConfigError, match=r"x\.bootstrap: it draws whole groups, and max-t permutes"):
        BootstrapOptions(bootstrap=100, correction="max-t").check_groups("x", True)
    many = {f"rating {number}": np.arange(N, dtype=float) for number in range(101)}
    made = PearsonBH(BootstrapOptions(bootstrap=100), saeviz.Context())
    with pytest.raises(saeviz.ConfigError, match=r"bootstrap: it is for at most 100 ratings, and these are 101"):
        list(made.score(data_of(np.eye(N), many)))


@pytest.mark.parametrize("n_groups", [None, 30])
def test_partial_correlations_are_fitted_again_in_each_sample(n_groups):
    data = made_up()
    random = np.random.default_rng(8)
    kinds = random.choice(["a", "b", "c"], N)
    light = random.normal(size=N) + data.features.matrix()[:, [0]].toarray()[:, 0]
    controls = np.column_stack([light, kinds == "b", kinds == "c"]).astype(float)
    codes = None if n_groups is None else np.arange(N) % n_groups
    [targets] = list(make_targets(data, ["beauty"], np.ones(N, dtype=bool), controls=controls))
    samples = Samples(targets, Bootstrap(200, 3, codes))
    [(_, (of_samples, without_one))] = samples.correlations(csr_array(data.features.matrix().T), {0: np.array([0, 2])})
    rated = np.flatnonzero(targets.rated)
    own = np.arange(rated.size) if codes is None else codes[rated]
    members = [rated[own == code] for code in np.unique(own)]

    def r(rows, feature):
        held = np.column_stack([np.ones(rows.size), controls[rows]])
        both = np.column_stack(
            [data.features.matrix()[rows][:, [feature]].toarray()[:, 0], data.ratings["beauty"][rows]]
        )
        left = both - held @ np.linalg.lstsq(held, both, rcond=None)[0]
        return pearsonr(*left.T)[0]

    for place, feature in enumerate((0, 2)):
        for sample in (0, 199):
            rows = np.concatenate([np.tile(members[k], n) for k, n in enumerate(samples.counts[:, sample])])
            assert of_samples[place, sample] == pytest.approx(r(rows, feature), abs=1e-9)
        rows = np.concatenate(members[:5] + members[6:])
        assert without_one[place, 5] == pytest.approx(r(rows, feature), abs=1e-9)


def test_significant_partial_correlations_have_an_interval_within_a_limit_of_controls():
    data = made_up(n=400)
    light = np.random.default_rng(1).normal(size=400)
    data = replace(
        data, metadata={"light": tuple(map(repr, light.tolist())), "who": tuple(f"w{i % 23}" for i in range(400))}
    )
    partial = Partial(PartialOptions(control=("light",), bootstrap=200), saeviz.Context(seed=3))
    columns = list(partial.score(data))
    columns += [one for one in partial.combine(columns) if isinstance(one, saeviz.ScoreColumn)]
    found = {one.name.removeprefix("partial_"): one.values for one in columns if one.target == "beauty"}
    significant = found["significant"] == 1
    assert significant.any()
    assert np.array_equal(np.isfinite(found["stability"]), significant)
    low, r, high = (found[name][significant] for name in ("ci_low_bootstrap", "r", "ci_high_bootstrap"))
    assert ((low < r) & (r < high)).all()
    with pytest.raises(saeviz.ConfigError, match=r"scorers\.partial\.bootstrap: 23 columns of control .* limit is 20"):
        list(Partial(PartialOptions(control=("who",), bootstrap=200), saeviz.Context()).score(data))

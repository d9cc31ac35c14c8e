"""`max-t`: adjusted p-values from permuted ratings, which keep the dependence between features."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats
from scipy.sparse import csr_array

from saeviz_correlation import permutation
from saeviz_correlation.options import PartialOptions
from saeviz_correlation.partial import Partial
from saeviz_correlation.permutation import LargestCorrelations, Permutations
from saeviz_correlation.scorer import PearsonBH, PointBiserial
from saeviz_correlation.spearman import Spearman
from saeviz_correlation.targets import make_targets
from tests.plugins.correlations import hard_data, make_input, score

SCORERS = {
    "": {"scorer": PearsonBH},
    "spearman_": {"scorer": Spearman},
    "point_biserial_": {"scorer": PointBiserial},
    "partial_": {"scorer": Partial, "options": PartialOptions, "control": ["shade"]},
}


def max_t(*inputs, permutations=99, **options):
    return score(*inputs, correction="max-t", permutations=permutations, **options)


def targets_of(data, **options):
    return list(make_targets(data, tuple(data.ratings), np.ones(data.n_items, dtype=bool), **options))


def one_space(seed=0, n=60, n_features=12, missing=0.0):
    generator = np.random.default_rng(seed)
    features = generator.exponential(size=(n, n_features)) * (generator.random((n, n_features)) < 0.5)
    ratings = {name: features[:, place] + generator.normal(size=n) for place, name in enumerate(("liking", "calm"))}
    for values in ratings.values():
        values[generator.random(n) < missing] = np.nan
    return make_input(features, ratings, metadata={"shade": [f"{v:.4f}" for v in generator.normal(size=n)]})


def as_correlated(prefix, x, y, shade):
    """Feature and rating as the scorer correlates them, by other means."""
    if prefix == "spearman_":
        return stats.rankdata(x), stats.rankdata(y)
    if prefix == "partial_":
        design = np.column_stack([np.ones(len(x)), shade])
        return tuple(v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y))
    return (x > 0 if prefix == "point_biserial_" else x), y


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("prefix", SCORERS)
def test_q_is_how_often_the_smallest_p_of_the_family_is_as_small(prefix, missing):
    """Every permuted rating correlated with every feature by np.corrcoef."""
    data = one_space(missing=missing)
    columns, facts = max_t(data, **SCORERS[prefix])
    dense = data.features.matrix().toarray().astype(float)
    shade = np.array(data.metadata["shade"], dtype=float)
    permutations = Permutations(data.item_ids, 99, seed=0)
    options = {"": {}, "spearman_": {"by_rank": True}, "point_biserial_": {}, "partial_": {"controls": shade[:, None]}}

    smallest = np.ones(99)
    for targets in targets_of(data, **options[prefix]):
        rows = targets.rated
        permuted = permutations.permuted(targets, range(99))
        for column, y in enumerate(permuted.T):
            pairs = [as_correlated(prefix, x, y, shade[rows])[0] for x in dense[rows].T]
            r = np.corrcoef(np.column_stack([*pairs, y]), rowvar=False)[-1, :-1]
            t = r * np.sqrt(targets.df / (1 - r**2))
            draw = column // len(targets.names)
            smallest[draw] = min(smallest[draw], 2 * stats.t.sf(np.abs(t).max(), targets.df))
    for name in data.ratings:
        p, q = columns[prefix + "p", name], columns[prefix + "q", name]
        np.testing.assert_allclose(q, [(1 + (smallest <= one).sum()) / 100 for one in p], rtol=1e-12)
        np.testing.assert_array_equal(columns[prefix + "significant", name], q <= 0.05)
        assert np.ptp(q) > 0.5
    assert facts[f"{prefix or 'correlation_'}permutations"] == 99


def test_every_permuted_rating_is_the_rating_in_another_order():
    data = one_space(missing=0.4)
    permutations = Permutations(data.item_ids, 50, seed=0)
    for targets in targets_of(data):
        rated = targets.values[targets.rated].astype(np.float32)
        for column in permutations.permuted(targets, range(50)).T:
            np.testing.assert_array_equal(np.sort(column), np.sort(rated[:, 0]))


@pytest.mark.parametrize("n_missing", [0, 2])
def test_every_order_of_the_rated_images_is_as_likely(n_missing):
    rating = np.array([1.0, 2.0, 4.0] + [np.nan] * n_missing)
    data = make_input(np.eye(len(rating)), {"liking": rating})
    [targets] = targets_of(data)
    permuted = Permutations(data.item_ids, 3000, seed=0).permuted(targets, range(3000))
    orders = Counter(tuple(np.argsort(column)) for column in permuted.T)

    assert len(orders) == 6
    assert stats.chisquare(list(orders.values())).pvalue > 1e-4


def test_ratings_and_spaces_share_their_permutations():
    """The second rating is the first, the third lacks two images: dependence stays as near as can be."""
    generator = np.random.default_rng(1)
    rating = generator.normal(size=200)
    gappy = rating.copy()
    gappy[[3, 77]] = np.nan
    data = make_input(np.ones((200, 1)), {"a": rating, "same": 3 * rating - 1, "gappy": gappy})
    pair, single = targets_of(data)
    permutations = Permutations(data.item_ids, 5, seed=0)
    both = permutations.permuted(pair, range(5))
    few = permutations.permuted(single, range(5))

    np.testing.assert_allclose(both[:, 0::2], both[:, 1::2], atol=1e-6)
    for draw in range(5):
        assert np.corrcoef(both[pair.rated & single.rated, 2 * draw], few[:, draw])[0, 1] > 0.9
    again = Permutations(data.item_ids, 5, seed=0).permuted(pair, range(3, 5))
    np.testing.assert_array_equal(again, both[:, 6:])
    assert not np.array_equal(Permutations(data.item_ids, 5, seed=1).permuted(pair, range(5)), both)


@pytest.mark.parametrize("prefix", SCORERS)
def test_neither_batch_size_nor_order_of_images_matters(prefix):
    generator = np.random.default_rng(2)
    data = one_space(seed=3, missing=0.2)
    order = generator.permutation(data.n_items)
    shuffled = make_input(
        data.features.matrix().toarray()[order],
        {name: values[order] for name, values in data.ratings.items()},
        size=7,
        ids=tuple(data.item_ids[row] for row in order),
        metadata={"shade": [data.metadata["shade"][row] for row in order]},
    )
    columns, _ = max_t(data, **SCORERS[prefix])
    others, _ = max_t(shuffled, **SCORERS[prefix])

    for name in data.ratings:
        np.testing.assert_array_equal(others[prefix + "q", name], columns[prefix + "q", name])


def test_without_any_relation_max_t_finds_something_in_about_alpha_of_the_runs():
    """Two hundred runs with shuffled ratings; the features are noisy copies of each other."""
    generator = np.random.default_rng(4)
    n, alpha, runs = 60, 0.2, 200
    base = generator.random((n, 4))
    features = np.repeat(base, 8, axis=1) + 0.2 * generator.random((n, 32))
    found = {"max-t": 0, "bonferroni": 0}
    for run in range(runs):
        data = make_input(features, {"liking": generator.normal(size=n), "calm": generator.normal(size=n)}, size=n)
        for correction in found:
            facts = score(data, correction=correction, alpha=alpha, permutations=99, seed=run)[1]
            found[correction] += any(facts[f"correlation_significant_{name}"] for name in data.ratings)
    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], runs, alpha)

    assert low <= found["max-t"] <= high
    assert found["bonferroni"] < found["max-t"]


def test_held_constant_confounders_do_not_make_discoveries():
    """The control drives features and ratings; permuting must not break its relation to the ratings."""
    generator = np.random.default_rng(5)
    n, alpha, runs = 60, 0.2, 150
    found = 0
    for run in range(runs):
        shade = generator.normal(size=n)
        features = generator.random((n, 10)) + shade[:, None]
        data = make_input(features, {"liking": shade + 0.5 * generator.normal(size=n), "shade": shade}, size=n)
        options = {"scorer": Partial, "options": PartialOptions, "control": ["shade"], "alpha": alpha, "seed": run}
        found += max_t(data, **options)[1]["partial_significant_liking"] > 0

    low, high = stats.binom.ppf([1e-4, 1 - 1e-4], runs, alpha)
    assert low <= found <= high


def test_twenty_copies_of_a_feature_cost_nothing():
    generator = np.random.default_rng(6)
    feature = generator.random(100)
    rating = 0.25 * feature / feature.std() + generator.normal(size=100)
    copies = make_input(np.column_stack([feature] * 20), {"liking": rating})
    alone = make_input(feature[:, None], {"liking": rating})
    q, _ = max_t(copies, permutations=999)
    q_alone, _ = max_t(alone, permutations=999)
    bonferroni, _ = score(copies, correction="bonferroni")

    np.testing.assert_allclose(q["q", "liking"], q_alone["q", "liking"][0])
    assert q["q", "liking"][0] < bonferroni["q", "liking"][0] / 4
    p = q["p", "liking"][0]
    assert abs(q["q", "liking"][0] - p) < 4 * np.sqrt(p / 999)


@pytest.mark.parametrize(("family", "groups"), [("rating", 2), ("space", 2), ("run", 1)])
def test_a_smaller_family_has_smaller_q(family, groups):
    ratings = one_space(seed=7).ratings
    inputs = [
        make_input(one_space(seed=seed, n_features=n).features.matrix().toarray(), ratings, layer=seed)
        for seed, n in ((7, 12), (8, 9))
    ]
    columns, facts = max_t(*inputs, family=family)
    run, _ = max_t(*inputs)

    difference = [run[key] - columns[key] for key in columns if key[0] == "q"]
    assert all((part[np.isfinite(part)] >= 0).all() for part in difference)
    assert any((part > 0).any() for part in difference) == (family != "run")
    assert groups == (1 if family == "run" else len(facts["correlation_family_size"]))


def test_features_that_are_no_members_do_not_count():
    generator = np.random.default_rng(9)
    features = generator.random((80, 6))
    rare = np.zeros((80, 500))
    rare[generator.integers(80, size=500), np.arange(500)] = 1  # each fires once, so r of some is large
    rating = {"liking": generator.normal(size=80)}
    with_rare, _ = max_t(make_input(np.hstack([features, rare]), rating))
    without, _ = max_t(make_input(features, rating))

    np.testing.assert_array_equal(with_rare["q", "liking"][:6], without["q", "liking"])
    assert np.isnan(with_rare["q", "liking"][6:]).all()


def test_a_feature_with_a_large_mean_is_as_exact_as_any():
    """In float32 the sums of 3000 plus or minus 0.01 would be noise."""
    generator = np.random.default_rng(10)
    wave = np.round(generator.normal(size=(300, 3)) * 64) / 2**12  # exact in float32 with and without the shift
    ratings = {"liking": generator.normal(size=300)}
    low = LargestCorrelations(
        targets_of(make_input(wave, ratings))[0], Permutations(tuple(map(str, range(300))), 40, 0)
    )
    high = LargestCorrelations(low.targets, Permutations(tuple(map(str, range(300))), 40, 0))
    spread = np.linalg.norm(wave - wave.mean(axis=0), axis=0)
    low.add(csr_array(wave.T.astype(np.float32)), spread)
    high.add(csr_array((wave + 2048).T.astype(np.float32)), spread)

    np.testing.assert_allclose(high.smallest_p(), low.smallest_p(), rtol=1e-3)


@pytest.mark.parametrize("prefix", SCORERS)
def test_a_feature_as_large_as_numbers_go_leaves_the_others_their_q(prefix):
    generator = np.random.default_rng(11)
    noise = generator.random((80, 6))
    ratings = {"liking": generator.normal(size=80)}
    shade = {"shade": [f"{v:.4f}" for v in generator.normal(size=80)]}
    huge = np.where(np.arange(6) == 0, 3e38, 1.0) * noise
    usual, large = (max_t(make_input(dense, ratings, metadata=shade), **SCORERS[prefix])[0] for dense in (noise, huge))

    np.testing.assert_allclose(large[f"{prefix}q", "liking"], usual[f"{prefix}q", "liking"], atol=0.011)


def test_images_a_part_at_a_time_add_up(monkeypatch):
    data = one_space(missing=0.1)
    whole, _ = max_t(data)
    monkeypatch.setattr(permutation, "IMAGES", 7)
    parts, _ = max_t(data)

    for name in data.ratings:
        np.testing.assert_array_equal(parts["q", name], whole["q", name])


def test_blocks_of_features_add_up():
    features, ratings = hard_data()
    data = make_input(features[:, 10:], {"complete": ratings["complete"]})
    block = csr_array(features[:, 10:].T.astype(np.float32))
    spread = np.linalg.norm(features[:, 10:] - features[:, 10:].mean(axis=0), axis=0)
    whole, pieces = (
        LargestCorrelations(targets_of(data)[0], Permutations(data.item_ids, 70, seed=0)) for _ in range(2)
    )
    whole.add(block, spread)
    for rows in (slice(0, 3), slice(3, 4), slice(4, 10)):
        pieces.add(block[rows], spread[rows])

    np.testing.assert_allclose(pieces.smallest_p(), whole.smallest_p(), rtol=1e-6)


def test_nothing_to_permute_is_no_error():
    ratings = {"constant": np.ones(40), "nobody": np.full(40, np.nan), "pair": np.where(np.arange(40) < 2, 1.0, np.nan)}
    columns, facts = max_t(make_input(np.random.default_rng(0).random((40, 3)), ratings))

    assert facts["correlation_family_size"] == 0
    assert all(np.isnan(columns["q", name]).all() for name in ratings)


def test_max_t_holds_out_with_bonferroni():
    generator = np.random.default_rng(11)
    features = generator.random((400, 20))
    rating = {"liking": features[:, :4].sum(axis=1) + 0.5 * generator.normal(size=400)}
    columns, _ = max_t(make_input(features, rating), split=0.5)
    found = columns["significant", "liking"] == 1
    expected = np.minimum(columns["p_held_out", "liking"][found] * found.sum(), 1)

    assert found.sum() >= 3
    np.testing.assert_allclose(columns["q_held_out", "liking"][found], expected)

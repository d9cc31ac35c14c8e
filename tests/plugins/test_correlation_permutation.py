"""Few groups: ratings are exchanged within groups, or whole groups exchange theirs."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

import saeviz
from saeviz import ConfigError
from saeviz_correlation.exchange import Exchange
from saeviz_correlation.options import LinearOptions, PartialOptions
from saeviz_correlation.partial import Partial
from saeviz_correlation.permutation import Permutations
from saeviz_correlation.scorer import PearsonBH, PointBiserial
from saeviz_correlation.spearman import Spearman
from saeviz_correlation.targets import make_targets
from tests.plugins.correlations import make_input, score

SCORERS = {"": PearsonBH, "spearman_": Spearman, "point_biserial_": PointBiserial}


def as_correlated(prefix, x, y):
    if prefix == "spearman_":
        return stats.rankdata(x), stats.rankdata(y)
    return (x > 0) * 1.0 if prefix == "point_biserial_" else x, y


def without_means(values, codes):
    return values - np.array([values[codes == code].mean() for code in codes])


def names_of(codes):
    return tuple(f"artist {code}" for code in codes)


def permuted(features, ratings, codes, **options):
    given = {"min_active": 2, "errors": "permutation", **options}
    return score(make_input(features, ratings, groups=names_of(codes)), **given)


@pytest.mark.parametrize("prefix", SCORERS)
def test_p_of_a_rating_of_whole_groups_is_exact_over_all_ways_to_arrange_them(prefix):
    generator = np.random.default_rng(0)
    codes = np.repeat(np.arange(6), [3, 9, 4, 7, 5, 6])
    of_group = generator.normal(size=6)
    features = np.maximum(generator.normal(size=(34, 4)) + np.outer(of_group[codes], [0, 1, 2, 0]), 0)
    columns, facts = permuted(features, {"fame": of_group[codes]}, codes, scorer=SCORERS[prefix])
    assert facts[f"{prefix or 'correlation_'}errors"] == "permutation"
    for feature in range(4):
        x = features[:, feature].astype(np.float32).astype(float)
        arranged = [as_correlated(prefix, x, of_group[list(order)][codes]) for order in permutations(range(6))]
        r = np.array([np.corrcoef(*pair)[0, 1] for pair in arranged])
        assert columns[f"{prefix}r", "fame"][feature] == pytest.approx(r[0], abs=1e-9)
        assert columns[f"{prefix}p", "fame"][feature] == (np.abs(r) >= np.abs(r[0]) * (1 - 1e-5)).mean()
        assert np.isnan(columns[f"{prefix}ci_low", "fame"][feature])


@pytest.mark.parametrize("prefix", SCORERS)
def test_a_rating_that_varies_within_groups_is_exchanged_within_them(prefix):
    generator = np.random.default_rng(1)
    codes = np.array([0, 0, 0, 0, 1, 1, 1])
    features = np.round(generator.normal(size=(7, 5)) + 10 * codes[:, None] * [0, 1, 0, 1, 0], 3)
    mood = generator.normal(size=7) + 5 * codes
    columns, facts = permuted(features, {"mood": mood}, codes, permutations=4000, scorer=SCORERS[prefix])
    start = prefix or "correlation_"
    assert saeviz.held_constant(prefix, facts) == "groups"
    assert facts[f"{start}permutations"] == 4000
    for feature in range(5):
        x, y = as_correlated(prefix, features[:, feature].astype(np.float32).astype(float), mood)
        x = without_means(x, codes)
        orders = [[*one, *other] for one, other in product(permutations(range(4)), permutations(range(4, 7)))]
        r = (
            np.array([np.corrcoef(x, without_means(y[order], codes))[0, 1] for order in orders])
            if x.any()
            else [np.nan]
        )
        assert columns[f"{prefix}r", "mood"][feature] == pytest.approx(r[0], abs=1e-6, nan_ok=True)
        p = columns[f"{prefix}p", "mood"][feature]
        assert np.isnan(p) or p == pytest.approx((np.abs(r) >= np.abs(r[0]) * (1 - 1e-5)).mean(), abs=0.03)


def test_max_t_of_images_in_groups_permutes_within_them():
    generator = np.random.default_rng(2)
    codes = np.arange(40) % 5
    features = generator.exponential(size=(40, 6)) * (generator.random((40, 6)) < 0.6)
    features[:, 5] = 2 * features[:, 4]
    mood = features[:, 0] + codes + generator.normal(size=40)
    data = make_input(features, {"mood": mood}, groups=names_of(codes))
    columns, facts = score(data, correction="max-t", permutations=99, min_active=2)
    assert facts["correlation_errors"] == "permutation"
    assert not {"correlation_margin", "correlation_negligible_mood", "correlation_detectable_mood"} & set(facts)
    assert not {"negligible", "r_corrected"} & {name for name, _ in columns}
    (targets,) = make_targets(data, ["mood"], np.ones(40, dtype=bool), within=codes)
    draws = Permutations(data.item_ids, 99, 0, Exchange(("mood",), sets=codes)).permuted(targets, range(99))
    left = np.column_stack([without_means(x, codes) for x in features.T])
    left /= np.linalg.norm(left, axis=0)
    largest = np.abs(left.T @ draws).max(axis=0)
    r = without_means(mood, codes) @ left / np.linalg.norm(without_means(mood, codes))
    np.testing.assert_allclose(columns["r", "mood"], r, atol=1e-6)
    np.testing.assert_allclose(columns["q", "mood"], [(1 + (largest >= abs(one)).sum()) / 100 for one in r])
    assert columns["q", "mood"][4] == columns["q", "mood"][5]


def test_images_without_a_group_exchange_ratings_with_one_another():
    generator = np.random.default_rng(3)
    features = generator.exponential(size=(60, 3))
    mood = features[:, 0] + generator.normal(size=60)
    single, _ = score(make_input(features, {"mood": mood}, groups=(None,) * 60), errors="permutation")
    plain, _ = score(make_input(features, {"mood": mood}))
    np.testing.assert_allclose(single["r", "mood"], plain["r", "mood"])
    np.testing.assert_allclose(single["p", "mood"], plain["p", "mood"], atol=0.05)
    pairs = (*(f"pair {n // 2}" for n in range(10)), *(None,) * 50)
    some, _ = score(make_input(features, {"mood": mood}, groups=pairs), errors="permutation")
    assert some["p", "mood"][0] < 0.01


def test_draws_do_not_depend_on_the_order_of_images_and_keep_images_in_their_groups():
    generator = np.random.default_rng(4)
    codes = np.arange(30) % 4
    ratings = {"mood": generator.normal(size=30), "fame": codes * 1.5}
    features = generator.exponential(size=(30, 2))
    order = generator.permutation(30)
    ids = tuple(f"image {n}" for n in range(30))
    columns, _ = permuted(features, ratings, codes)
    mixed = make_input(
        features[order],
        {name: values[order] for name, values in ratings.items()},
        ids=tuple(ids[n] for n in order),
        groups=names_of(codes[order]),
    )
    again, _ = score(mixed, min_active=2, errors="permutation")
    for name in ratings:
        np.testing.assert_array_equal(again["p", name], columns["p", name])
    (targets,) = make_targets(mixed, ["mood"], np.arange(30) > 3)
    sets = codes[order]
    sources = Permutations(mixed.item_ids, 5, 0, Exchange(("mood",), sets=sets))._sources(1, targets.rated)
    assert (sets[sources] == sets[targets.rated]).all()
    assert sorted(sources) == np.flatnonzero(targets.rated).tolist()


def test_a_rating_of_whole_groups_does_not_hide_relations_within_groups_from_max_t():
    generator = np.random.default_rng(9)
    codes = np.repeat(np.arange(8), 12)
    features = np.maximum(generator.normal(size=(96, 30)) + generator.normal(size=(8, 30))[codes], 0)
    ratings = {"mood": 2 * features[:, 0] + generator.normal(size=96), "fame": generator.normal(size=8)[codes]}
    given = {"correction": "max-t", "permutations": 199}
    alone = {name: permuted(features, {name: ratings[name]}, codes, **given)[0]["q", name] for name in ratings}
    together, _ = permuted(features, ratings, codes, **given)
    assert together["significant", "mood"][0] == 1
    for name in ratings:
        np.testing.assert_allclose(together["q", name], np.minimum(2 * alone[name], 1))
    by_rating, _ = permuted(features, ratings, codes, family="rating", **given)
    np.testing.assert_array_equal(by_rating["q", "mood"], alone["mood"])


def test_as_many_permutations_as_a_doubled_q_needs_are_asked_for_before_anything_is_computed():
    items = [
        saeviz.ImageItem(f"image {n}", b"", {"mood": n, "fame": n // 3}, group=f"artist {n // 3}") for n in range(12)
    ]
    alone = [replace(item, group=None) for item in items]
    few = LinearOptions(correction="max-t", permutations=38)
    with pytest.raises(ConfigError, match=r"x\.permutations: some ratings .* 38 permutations give none below 0\.051,"):
        few.check_images("x", items)
    few.check_images("x", alone)
    for enough in ({"permutations": 39}, {"family": "rating"}, {"errors": "independent"}, {"ratings": ("mood",)}):
        few.model_copy(update=enough).check_images("x", items)
    PartialOptions(control=("age",), correction="max-t", permutations=38).check_images("x", items)


@pytest.mark.parametrize("options", [{}, {"split": 0.5}])
def test_only_groups_with_the_rating_and_on_one_side_of_a_split_are_arranged(options, caplog):
    generator = np.random.default_rng(10)
    codes = np.repeat(np.arange(12), 5)
    of_group = np.where(np.arange(12) < (12 if options else 4), generator.normal(size=12), np.nan)
    features = generator.exponential(size=(60, 6))
    with caplog.at_level(logging.WARNING):
        columns, _ = permuted(features, {"fame": of_group[codes]}, codes, permutations=5040, **options)
    parts = {"p": "n", "p_held_out": "n_held_out"} if options else {"p": "n"}
    n_groups = [int(columns[n, "fame"][0]) // 5 for n in parts.values()]
    for n, p in zip(n_groups, parts, strict=True):
        ways = columns[p, "fame"] * math.factorial(n)
        np.testing.assert_allclose(ways, np.round(ways), atol=1e-9)
    fewest = min(n_groups)
    assert f"exchanged between {fewest} whole groups; these can be arranged in" in caplog.text


def test_found_relations_are_tested_again_by_permutation_of_the_images_held_out():
    generator = np.random.default_rng(5)
    codes = np.arange(400) % 20
    features = generator.exponential(size=(400, 4))
    ratings = {"mood": 2 * features[:, 0] + codes + generator.normal(size=400), "fame": (codes % 7) * 1.0}
    columns, _ = permuted(features, ratings, codes, split=0.5, permutations=199)
    assert columns["replicated", "mood"][0] == 1
    assert columns["p_held_out", "mood"][0] == 1 / 200
    assert np.isfinite(columns["p_held_out", "fame"]).all()


def test_p_is_uniform_where_groups_are_few_and_no_feature_has_to_do_with_the_rating():
    small = {"mood": 0, "fame": 0}
    for seed in range(12):
        generator = np.random.default_rng([6, seed])
        codes = np.repeat(np.arange(8), 12)
        features = np.maximum(generator.normal(size=(96, 100)) + generator.normal(size=(8, 100))[codes], 0)
        fame = generator.normal(size=8)[codes]
        columns, _ = permuted(
            features, {"mood": fame + generator.normal(size=96), "fame": fame}, codes, permutations=99
        )
        for name in small:
            small[name] += int((columns["p", name] <= 0.1).sum())
    assert 70 < small["mood"] < 170
    assert 40 < small["fame"] < 220  # features of a data set share the rating of 8 groups


def test_controls_stay_with_their_images_and_what_is_impossible_is_told(caplog):
    generator = np.random.default_rng(7)
    codes = np.arange(60) % 4
    features = generator.exponential(size=(60, 3))
    ratings = {"mood": features[:, 0] + generator.normal(size=60), "fame": codes * 1.0, "light": generator.random(60)}
    given = {"scorer": Partial, "options": PartialOptions, "control": ("light",)}
    with caplog.at_level(logging.INFO):
        columns, facts = permuted(features, ratings, codes, **given)
        permuted(features, ratings, codes)
    design = np.column_stack([codes == code for code in range(4)] + [ratings["light"]]) * 1.0
    x, y = (v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (features[:, 0], ratings["mood"]))
    assert columns["partial_r", "mood"][0] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    assert np.isnan(columns["partial_p", "fame"]).all()
    assert facts["partial_control"] == ["light (rating)", "groups"]
    assert "ratings 'fame' are exchanged between 4 whole groups; these can be arranged in only 24 ways" in caplog.text
    assert "'mood', 'light' are exchanged within groups" in caplog.text
    many = make_input(generator.random((700, 2)), {"mood": generator.random(700)}, groups=names_of(np.arange(700) // 2))
    with pytest.raises(ConfigError, match="cannot be exchanged within 350 groups, at most 300"):
        score(many, errors="permutation")


@pytest.mark.parametrize(
    ("correction", "permutations", "told"),
    [
        ("bh", 99, "in a family of 80 tests nothing is significant unless 16 tests have that p"),
        ("bh", 499, ""),
        ("bonferroni", 499, "no p is below 0.002, and in a family of 80 tests nothing can be significant"),
        ("bonferroni", 1999, ""),
        ("max-t", 99, ""),
    ],
)
def test_too_few_permutations_for_the_family_are_warned_of(correction, permutations, told, caplog):
    generator = np.random.default_rng(11)
    codes = np.repeat(np.arange(12), 3)
    ratings = {name: generator.normal(size=36) for name in ("mood", "calm")}
    with caplog.at_level(logging.WARNING):
        permuted(generator.exponential(size=(36, 40)), ratings, codes, correction=correction, permutations=permutations)
    messages = [one for one in caplog.messages if "permutations no p is below" in one]
    assert [told in one for one in messages] == [True] * bool(told)

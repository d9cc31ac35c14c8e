"""Selector `tiered`: which features get in, in which order, and why."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import saeviz
from saeviz import ConfigError, Feature, FeatureSpace, ScoreTable
from saeviz.testing import SelectorContract
from saeviz_tiered import TieredOptions
from saeviz_tiered.selector import TieredSelector

NAN = float("nan")


def make_table(features, relations=()):
    """A table of rows (layer, feature, n_active, ms) and (layer, feature, rating, r, q)."""
    scores = pd.DataFrame(list(features), columns=["layer", "feature", "n_active", "monosemanticity"])
    correlations = pd.DataFrame(list(relations), columns=["layer", "feature", "rating", "r", "q"])
    scores = scores.assign(sae="", tokens="cls", max=scores["n_active"] / 10, mean=0.1)
    correlations = correlations.assign(sae="", tokens="cls", n=100, p=correlations["q"] / 2)
    correlations["significant"] = (correlations["q"] <= 0.05).astype(float).where(correlations["q"].notna())
    spaces = tuple(FeatureSpace(int(layer), "cls", 10_000) for layer in sorted(set(scores["layer"])))
    return ScoreTable(scores, correlations, spaces)


def select(table, limit=None, **options):
    return TieredSelector(TieredOptions(**options), saeviz.Context()).select(table, limit)


def tiers(selected):
    return {choice.feature.index: choice.tier for choice in selected}


def random_table(seed, n_features=300, layers=(7, 11)):
    generator = np.random.default_rng(seed)
    keys = [(layer, feature) for layer in layers for feature in range(n_features)]
    some = generator.random(len(keys)) < 0.9
    return make_table(
        [
            (*key, generator.integers(0, 60), generator.uniform(-0.1, 0.7) if ok else NAN)
            for key, ok in zip(keys, some, strict=True)
        ],
        [
            (*key, rating, generator.normal(0, 0.12), generator.random())
            for key in keys
            for rating in ("liking", "calm")
        ],
    )


def test_tiers_follow_the_cut_offs_to_the_letter():
    ms = {0: 0.50, 1: 0.49, 2: 0.50, 3: 0.35, 4: 0.34, 5: 0.34, 6: NAN, 7: 0.9}
    r = {0: -0.25, 1: 0.25, 2: 0.24, 3: 0.0, 4: 0.15, 5: 0.14, 6: -0.9, 7: 0.9}
    table = make_table(
        [(7, feature, 50, value) for feature, value in ms.items()],
        [(7, feature, "liking", value, 0.01) for feature, value in r.items()],
    )

    assert tiers(select(table)) == {0: 1, 1: 2, 2: 2, 3: 2, 4: 2, 5: 3, 6: 2, 7: 1}


def test_all_four_cut_offs_are_options():
    table = make_table(
        [(7, feature, 50, 0.3) for feature in range(2)],
        [(7, feature, "liking", 0.1 * feature, 0.01) for feature in (0, 1)],
    )

    assert tiers(select(table)) == {0: 3, 1: 3}
    assert tiers(select(table, ms_elite=0.3, r_elite=0.1)) == {0: 3, 1: 1}
    assert tiers(select(table, r_good=0.1)) == {0: 3, 1: 2}
    assert tiers(select(table, ms_good=0.3)) == {0: 2, 1: 2}


def test_the_strongest_rating_decides_whatever_its_sign_and_is_named():
    table = make_table(
        [(7, 0, 50, 0.61)], [(7, 0, "liking", 0.2, 0.01), (7, 0, "valence", -0.31, 0.002), (7, 0, "calm", NAN, NAN)]
    )

    (choice,) = select(table)

    assert choice.tier == 1
    assert choice.reason == "MS 0.61, r -0.31 with valence (q 0.002)"


def test_a_wild_r_outside_the_family_counts_for_nothing():
    table = make_table([(7, 0, 50, 0.6)], [(7, 0, "liking", 0.99, NAN), (7, 0, "calm", 0.16, 0.2)])

    (choice,) = select(table)

    assert choice.tier == 2
    assert choice.reason == "MS 0.60, r 0.16 with calm (q 0.2)"


def test_features_that_hardly_ever_fire_are_left_out():
    table = make_table(
        [(7, 0, 9, 0.99), (7, 1, 10, 0.99), (7, 2, 0, NAN)], [(7, feature, "liking", 0.9, 0.01) for feature in range(3)]
    )

    assert tiers(select(table)) == {1: 1}
    assert tiers(select(table, min_active=1)) == {0: 1, 1: 1}


def test_with_significance_required_only_significant_correlations_count():
    table = make_table(
        [(7, 0, 50, 0.6), (7, 1, 50, 0.1), (7, 2, 50, 0.6)],
        [
            (7, 0, "liking", 0.5, 0.06),
            (7, 0, "calm", 0.3, 0.05),
            (7, 1, "liking", 0.5, 0.06),
            (7, 2, "liking", 0.5, 0.06),
        ],
    )

    assert tiers(select(table)) == {0: 1, 1: 2, 2: 1}
    required = select(table, require="significant")
    assert tiers(required) == {0: 1, 1: 3, 2: 2}
    assert next(c.reason for c in required if c.feature.index == 0) == "MS 0.60, r 0.30 with calm (q 0.05)"


def test_significance_cannot_be_required_where_nothing_tells_it():
    table = make_table([(7, 0, 50, 0.6)], [(7, 0, "liking", 0.5, 0.01)])
    untold = ScoreTable(table.scores, table.correlations.drop(columns=["significant", "q"]), table.spaces)

    with pytest.raises(ConfigError, match=r'selector\.require = "significant".*pearson-bh'):
        select(untold, require="significant")
    assert select(untold)[0].reason == "MS 0.60, r 0.50 with liking"


def test_within_a_tier_the_strongest_correlation_comes_first_then_the_clearest_feature():
    features = {0: (0.55, 0.60), 1: (0.90, 0.26), 2: (0.70, 0.40), 3: (0.40, 0.0), 4: (0.1, 0.3), 5: (0.45, 0.16)}
    table = make_table(
        [(7, feature, 50, ms) for feature, (ms, _) in features.items()],
        [(7, feature, "liking", r, 0.01) for feature, (_, r) in features.items()],
    )

    assert [choice.feature.index for choice in select(table)] == [0, 2, 1, 4, 5, 3]


def test_equally_good_features_come_by_layer_and_index_however_the_table_is_ordered():
    table = make_table(
        [(layer, feature, 50, 0.4) for layer in (11, 7) for feature in (5, 3, 4)], [(7, 3, "liking", 0.0, 0.5)]
    )
    shuffled = ScoreTable(table.scores.sample(frac=1, random_state=0), table.correlations, table.spaces)

    expected = [Feature(layer, "cls", feature) for layer in (7, 11) for feature in (3, 4, 5)]
    assert [choice.feature for choice in select(table)] == expected
    assert [choice.feature for choice in select(shuffled)] == expected


def test_tier_3_has_its_share_even_where_tier_2_could_fill_the_limit():
    table = make_table([(7, feature, 50, 0.4 if feature < 500 else 0.3) for feature in range(1000)])

    assert Counter(choice.tier for choice in select(table, 100)) == {2: 80, 3: 20}
    assert Counter(choice.tier for choice in select(table, 100, diverse_share=0.5)) == {2: 50, 3: 50}
    assert Counter(choice.tier for choice in select(table, 100, diverse_share=0)) == {2: 100}


def test_what_one_side_cannot_fill_the_other_may():
    few_good = make_table([(7, feature, 50, 0.4 if feature < 5 else 0.3) for feature in range(1000)])
    few_others = make_table([(7, feature, 50, 0.3 if feature < 5 else 0.4) for feature in range(1000)])

    assert Counter(choice.tier for choice in select(few_good, 100)) == {2: 5, 3: 95}
    assert Counter(choice.tier for choice in select(few_others, 100)) == {2: 95, 3: 5}


def test_tier_3_is_spread_over_spaces_and_frequencies_and_takes_the_best_of_each():
    generator = np.random.default_rng(0)
    # layer 11 and features that fire often have the higher scores: the plain top would be only those
    rows = [
        (layer, feature, 10 + feature, 0.1 + 0.1 * (layer == 11) + 0.0001 * feature + 0.01 * generator.random())
        for layer in (7, 11)
        for feature in range(400)
    ]
    table = make_table(rows)
    chosen = select(table, 40, ms_good=0.9)

    assert {choice.tier for choice in chosen} == {3}
    cells = Counter((choice.feature.layer, choice.feature.index // 100) for choice in chosen)
    assert cells == {(layer, band): 5 for layer in (7, 11) for band in range(4)}
    for layer, band in cells:
        ms = {feature: value for row_layer, feature, _, value in rows if (row_layer, feature // 100) == (layer, band)}
        best = sorted(ms, key=ms.get, reverse=True)[:5]
        found = [c.feature.index for c in chosen if (c.feature.layer, c.feature.index // 100) == (layer, band)]
        assert found == best
    assert chosen[0].reason == "MS 0.25; high for layer11.cls features that fire on 310 to 409 images"


def test_without_monosemanticity_only_correlations_make_a_tier_and_activation_ranks_the_rest():
    table = make_table([(7, 0, 50, 0.9), (7, 1, 50, 0.9), (7, 2, 90, 0.9)], [(7, 0, "liking", 0.9, 0.01)])
    chosen = select(ScoreTable(table.scores.drop(columns="monosemanticity"), table.correlations, table.spaces))

    assert tiers(chosen) == {0: 2, 2: 3, 1: 3}
    assert [choice.feature.index for choice in chosen] == [0, 2, 1]
    assert chosen[0].reason == "r 0.90 with liking (q 0.01)"
    assert chosen[1].reason == "activation up to 9; high for layer7.cls features that fire on 90 to 90 images"


@pytest.mark.parametrize("columns", [[*saeviz.KEYS, "rating"], []])
def test_without_correlations_monosemanticity_alone_decides(columns):
    table = make_table([(7, 0, 50, 0.9), (7, 1, 50, 0.1)])
    bare = ScoreTable(table.scores, pd.DataFrame({column: [] for column in columns}), table.spaces)

    assert tiers(select(bare)) == {0: 2, 1: 3}
    assert tiers(select(bare, require="significant")) == {0: 2, 1: 3}


def test_nothing_to_choose_from_gives_nothing():
    assert select(make_table([])) == []
    assert select(make_table([(7, 0, 0, NAN)], [(7, 0, "liking", NAN, NAN)])) == []


def test_the_limit_of_the_call_goes_before_the_option():
    table = make_table([(7, feature, 50, 0.4) for feature in range(300)])

    assert len(select(table)) == 200
    assert len(TieredSelector(TieredOptions(limit=7), saeviz.Context()).select(table)) == 7
    assert len(TieredSelector(TieredOptions(limit=7), saeviz.Context()).select(table, 9)) == 9
    assert len(select(table, 3)) == 3
    assert select(table, 0) == []


def with_clusters(table, clusters):
    """The table with the column `cluster`, by feature; NaN for the others."""
    return ScoreTable(
        table.scores.assign(cluster=table.scores["feature"].map(clusters).astype(float)),
        table.correlations,
        table.spaces,
    )


def test_of_features_that_fire_together_only_the_best_is_selected_in_all_tiers():
    ms = {0: 0.55, 1: 0.60, 2: 0.40, 3: 0.30, 4: 0.45, 5: 0.44, 6: 0.32, 7: 0.31, 8: 0.30, 9: 0.20}
    r = {0: 0.3, 1: 0.3}
    table = make_table(
        [(7, feature, 50, value) for feature, value in ms.items()],
        [(7, feature, "liking", value, 0.01) for feature, value in r.items()],
    )
    clusters = {0: 100, 1: 100, 2: 100, 3: 100, 4: 40, 5: 40, 6: 60, 7: 60, 9: 9}

    chosen = select(with_clusters(table, clusters))

    assert [(choice.feature.index, choice.tier) for choice in chosen] == [(1, 1), (4, 2), (6, 3), (8, 3), (9, 3)]
    assert [choice.reason for choice in chosen[:2]] == [
        "MS 0.60, r 0.30 with liking (q 0.01); represents 3 more that fire with it",
        "MS 0.45; represents 1 more that fires with it",
    ]
    assert chosen[2].reason.endswith("images; represents 1 more that fires with it")
    assert not any("represents" in choice.reason for choice in chosen[3:])
    assert select(with_clusters(table, clusters), one_per_cluster=False) == select(table)


def test_features_without_a_cluster_are_each_their_own():
    table = random_table(1)
    assert select(with_clusters(table, {})) == select(table)


def test_a_cluster_reaches_over_layers_and_room_that_copies_took_goes_to_others():
    table = make_table([(layer, feature, 50, 0.4) for layer in (7, 11) for feature in range(20)])
    chosen = select(with_clusters(table, {feature: feature // 2 for feature in range(20)}), 10)

    assert len(chosen) == 10
    assert {choice.feature for choice in chosen} == {Feature(7, "cls", 2 * number) for number in range(10)}
    assert all("represents 3 more" in choice.reason for choice in chosen)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 500), limit=st.integers(0, 100))
def test_any_clusters_give_one_of_each_and_tier_3_nothing_that_a_better_tier_has(seed, limit):
    table = random_table(seed, n_features=40)
    cluster = np.random.default_rng(seed).integers(0, 25, 80).astype(float)
    table = ScoreTable(table.scores.assign(cluster=cluster), table.correlations, table.spaces)
    of_feature = dict(zip(table.scores[["layer", "feature"]].itertuples(index=False, name=None), cluster, strict=True))
    found = [of_feature[choice.feature.layer, choice.feature.index] for choice in select(table, limit)]
    plain = select(table, 80, one_per_cluster=False)
    better = {of_feature[c.feature.layer, c.feature.index] for c in plain if c.tier < 3}

    assert len(set(found)) == len(found)
    assert {of_feature[c.feature.layer, c.feature.index] for c in select(table, limit) if c.tier == 3}.isdisjoint(
        better
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 500), limit=st.integers(0, 700), share=st.floats(0, 1))
def test_any_table_gives_the_limit_or_all_there_is_each_once_and_in_the_order_of_tiers(seed, limit, share):
    table = random_table(seed, n_features=40)
    eligible = table.scores[table.scores["n_active"] >= 10]
    everything = select(table, 10_000)
    chosen = select(table, limit, diverse_share=share)

    assert len(chosen) == min(limit, len(everything))
    assert len({choice.feature for choice in chosen}) == len(chosen)
    assert [choice.tier for choice in chosen] == sorted(choice.tier for choice in chosen)
    assert {choice.feature: choice.tier for choice in chosen}.items() <= {c.feature: c.tier for c in everything}.items()
    scored = eligible["monosemanticity"].notna()
    assert scored.sum() <= len(everything) <= len(eligible)


def test_the_table_may_come_from_parquet_with_categories_and_small_floats(tmp_path):
    table = random_table(0)
    scores = table.scores.astype({"tokens": "category", "monosemanticity": "float32", "layer": "int16"})
    scores.to_parquet(tmp_path / "scores.parquet")
    correlations = table.correlations.astype({"tokens": "category", "rating": "category", "layer": "int16"})
    correlations.to_parquet(tmp_path / "correlations.parquet")
    read = ScoreTable(
        pd.read_parquet(tmp_path / "scores.parquet"), pd.read_parquet(tmp_path / "correlations.parquet"), table.spaces
    )

    assert [choice.feature for choice in select(read)] == [choice.feature for choice in select(table)]
    assert all(type(choice.feature.index) is int for choice in select(read))
    assert all(type(choice.tier) is int for choice in select(read))


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"ms_elite": 0}, {"r_good": 1.5}, {"diverse_share": -1}, {"ms_elit": 1}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        TieredOptions(**wrong)


class TestContract(SelectorContract):
    component = TieredSelector

    @pytest.fixture
    def make(self):
        return lambda context: TieredSelector(TieredOptions(), context)


def test_equally_good_features_come_by_the_name_of_their_tokens_whatever_the_categories_of_the_table():
    table = make_table(
        [(7, feature, 50, 0.3) for feature in (0, 1, 2)], [(7, feature, "calm", 0.2, 0.01) for feature in (0, 1, 2)]
    )
    tokens = pd.Categorical(["patch-max", "cls", "patch-mean"], categories=["patch-max", "patch-mean", "cls"])
    named = ScoreTable(table.scores.assign(tokens=tokens), table.correlations.assign(tokens=tokens), table.spaces)
    for options in ({}, {"r_good": 0.5, "ms_good": 0.5, "require": "significant"}):
        found = [choice.feature.tokens for choice in select(named, **options)]
        assert found == ["cls", "patch-max", "patch-mean"]


@pytest.mark.parametrize(("limit", "share", "expected"), [(100, 0.29, 29), (100, 0.57, 57), (10, 0.19, 1), (3, 0.3, 0)])
def test_the_reserved_share_is_what_arithmetic_says(limit, share, expected):
    table = make_table([(7, feature, 50, 0.4 if feature < 200 else 0.1) for feature in range(400)])
    assert Counter(tiers(select(table, limit, diverse_share=share)).values())[3] == expected


@pytest.mark.parametrize("facts", [{}, {"monosemanticity_cutoffs": [0.3, 0.6]}])
@pytest.mark.parametrize("options", [{}, {"ms_elite": 0.45, "ms_good": 0.2, "r_elite": 0.2, "r_good": 0.1}])
def test_the_cut_offs_it_tells_are_those_that_it_selects_by(facts, options):
    selector = TieredSelector(TieredOptions(min_active=1, **options), saeviz.Context())
    table = random_table(3)
    table = dataclasses.replace(table, correlations=table.correlations.assign(significant=0.0), facts=facts)
    first, second = selector.tier_cutoffs(facts)
    best = table.correlations.groupby(["layer", "feature"])["r"].agg(lambda r: r.abs().max())
    ms = table.scores.set_index(["layer", "feature"])["monosemanticity"]
    chosen = selector.select(table, 10_000)
    assert {choice.tier for choice in chosen} == {1, 2, 3}
    for choice in chosen:
        key = (choice.feature.layer, choice.feature.index)
        inside = [ms[key] >= cut.monosemanticity for cut in (first, second)]
        strong = [best[key] >= cut.r for cut in (first, second)]
        assert choice.tier == (1 if inside[0] and strong[0] else 2 if inside[1] or strong[1] else 3)
    assert [(cut.tier, cut.either) for cut in (first, second)] == [(1, False), (2, True)]

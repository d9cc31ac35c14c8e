"""Selector `tiered` where features are many: strength, fair shares, requirements, cut-offs that a scorer reports."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import saeviz
from saeviz import ConfigError, Feature, FeatureSpace, ScoreTable
from saeviz_tiered import TieredOptions
from saeviz_tiered.selector import TieredSelector

RATINGS = ("valence", "arousal", "calm")
SCALE = {"valence": 0.13, "arousal": 0.05, "calm": 0.03}


def select(table, limit=None, **options):
    return TieredSelector(TieredOptions(**options), saeviz.Context()).select(table, limit)


def photographs(n_features=1200, n_images=2632, seed=0):
    """A run whose pictures are alike: random pairs at .375, so that most features pass .35 whatever they are.

    The features that go along with ratings most are not those with the highest monosemanticity. `calm` is related
    only weakly, though significantly.
    """
    generator = np.random.default_rng(seed)
    keys = pd.DataFrame({"sae": "", "layer": 8, "tokens": "patch-max", "feature": range(n_features)})
    scores = keys.assign(
        n_active=generator.integers(20, 900, n_features),
        max=1.0,
        mean=0.1,
        monosemanticity=generator.normal(0.43, 0.08, n_features),
    )
    parts = []
    for rating in RATINGS:
        r = np.clip(generator.normal(0, SCALE[rating], n_features), -0.9, 0.9)
        q = np.clip(2 * np.exp(-(r**2) * n_images / 2), 0, 1)
        parts.append(
            keys.assign(rating=rating, n=n_images, r=r, p=q / 10, q=q, ci_low=r - 0.04, ci_high=r + 0.04)
            .assign(significant=(q <= 0.05).astype(float))
            .assign(replicated=lambda t: (t["feature"] % 2 == 0).astype(float).where(t["significant"] == 1))
        )
    facts = {"monosemanticity_cutoffs": [0.49, 0.605], "correlation_measure": "Pearson's r"}
    return ScoreTable(scores, pd.concat(parts, ignore_index=True), (FeatureSpace(8, "patch-max", n_features),), facts)


def strongest(table, n, rating=None):
    rows = table.correlations if rating is None else table.correlations[table.correlations["rating"] == rating]
    rows = rows.assign(size=rows["r"].abs()).sort_values("size", ascending=False)
    return [Feature(8, "patch-max", int(index)) for index in rows["feature"].drop_duplicates().head(n)]


@pytest.mark.parametrize("facts", [{}, {"monosemanticity_cutoffs": [0.49, 0.605]}])
@pytest.mark.parametrize("require", [None, "significant"])
def test_the_50_strongest_correlations_are_selected_whatever_the_cut_offs(facts, require):
    table = replace(photographs(), facts=facts)
    chosen = {choice.feature for choice in select(table, require=require)}

    assert len(chosen) == 200
    assert set(strongest(table, 50)) <= chosen


def test_a_rating_with_weak_relations_has_its_share_and_its_strongest_are_in():
    table = photographs()
    chosen = select(table)
    by_rating = {rating: [c for c in chosen if c.rating == rating] for rating in RATINGS}

    assert min(map(len, by_rating.values())) >= 20
    for rating in RATINGS:
        assert set(strongest(table, 15, rating)) <= {choice.feature for choice in chosen}
    assert all(f"with {rating}" in choice.reason for rating, own in by_rating.items() for choice in own)


def test_few_places_are_shared_as_well():
    table = photographs()
    chosen = select(table, 10)

    assert set(strongest(table, 4)) <= {choice.feature for choice in chosen}
    assert {choice.rating for choice in chosen} >= set(RATINGS)


def test_the_list_opens_with_a_strong_relation_and_each_tier_is_in_order():
    table = photographs()
    r = table.correlations.set_index(["rating", "feature"])["r"]
    chosen = select(table)
    for tier in (1, 2):
        sizes = [abs(r[choice.rating, choice.feature.index]) for choice in chosen if choice.tier == tier]
        assert sizes == sorted(sizes, reverse=True)
    assert abs(r[chosen[0].rating, chosen[0].feature.index]) >= 0.25


def test_cut_offs_of_monosemanticity_are_those_the_scorer_reports():
    table = photographs()
    ms = table.scores.set_index("feature")["monosemanticity"]
    r = table.correlations.groupby("feature")["r"].agg(lambda values: values.abs().max())

    for choice in select(table, 5000):
        of_feature, size = ms[choice.feature.index], r[choice.feature.index]
        expected = 1 if of_feature >= 0.605 and size >= 0.25 else 2 if of_feature >= 0.49 or size >= 0.15 else 3
        assert choice.tier == expected
    fixed = {choice.feature: choice.tier for choice in select(table, 5000, ms_good=0.35, ms_elite=0.5)}
    untold = {choice.feature: choice.tier for choice in select(replace(table, facts={}), 5000)}
    assert fixed == untold
    assert sum(tier < 3 for tier in fixed.values()) > 0.8 * len(fixed)


@pytest.mark.parametrize("strange", [None, [], [0.4], ["a", "b"], {"a": 1}, 0.4, [None, None]])
def test_a_fact_of_another_shape_is_no_cut_off(strange):
    table = photographs(100)
    odd = replace(table, facts={"monosemanticity_cutoffs": strange})

    assert select(odd) == select(replace(table, facts={}))


def test_with_replication_required_only_what_held_counts():
    table = photographs()
    chosen = select(table, require="replicated", diverse_share=0.0, ms_good=1.0, ms_elite=1.0)

    held = table.correlations[table.correlations["replicated"] == 1]
    assert chosen
    related = [choice for choice in chosen if choice.rating]
    assert {choice.feature.index for choice in related} <= set(held["feature"])
    assert set(strongest(replace(table, correlations=held), 50)) <= {choice.feature for choice in related}


def test_replication_cannot_be_required_where_nothing_was_held_out():
    table = photographs(50)
    untold = replace(table, correlations=table.correlations.drop(columns="replicated"))

    with pytest.raises(ConfigError, match=r'selector\.require = "replicated".*split'):
        select(untold, require="replicated")


def test_the_old_name_is_read_with_a_note(caplog):
    with caplog.at_level(logging.WARNING, logger="saeviz"):
        assert TieredOptions(require_significant=True).require == "significant"
        assert TieredOptions(require_significant=False).require is None

    assert 'require = "significant"' in caplog.text
    assert "require_significant" not in TieredOptions.model_fields


def test_a_significant_relation_goes_before_a_larger_one_that_is_not():
    keys = pd.DataFrame({"sae": "", "layer": 8, "tokens": "cls", "feature": [0, 1]})
    scores = keys.assign(n_active=50, max=1.0, mean=0.1)
    correlations = pd.concat(
        [
            keys.assign(rating="few", n=20, r=[0.4, 0.41], p=0.1, q=0.5, significant=0.0),
            keys.assign(rating="many", n=2000, r=[0.2, 0.01], p=[0.0, 0.9], q=[0.0, 0.95], significant=[1.0, 0.0]),
        ],
        ignore_index=True,
    )
    chosen = select(ScoreTable(scores, correlations, (FeatureSpace(8, "cls", 2),)), 1)

    assert [(choice.feature.index, choice.rating) for choice in chosen] == [(0, "many")]

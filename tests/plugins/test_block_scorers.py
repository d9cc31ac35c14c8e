"""Bundled scorers whose scores are computed from blocks of features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

import saeviz
from saeviz.discovery.manager import Manager
from saeviz.testing import check_blocks
from saeviz.testing.data import Surroundings, score_input
from saeviz_correlation.auc import AUC
from saeviz_correlation.moderation import Moderation
from saeviz_correlation.options import AreaOptions, LinearOptions, ModerationOptions, PartialOptions
from saeviz_correlation.partial import Partial
from saeviz_correlation.scorer import PearsonBH, PointBiserial
from saeviz_correlation.spearman import Spearman
from saeviz_monosemanticity import MonosemanticityOptions
from saeviz_monosemanticity.scorer import Monosemanticity
from saeviz_raters.scorer import Raters
from saeviz_redundancy.scorer import Redundancy

MAX_T = {"correction": "max-t", "permutations": 39}


def hard_input(**options) -> saeviz.ScoreInput:
    """Feature 3 is far from zero, feature 4 has ties and negative values; `has` is binary."""
    data = score_input(1100, rows_per_batch=700, **options)
    dense = data.features.matrix().toarray()
    dense[:, 3] += 1e4
    dense[:, 4] = np.round(dense[:, 4]) - (dense[:, 5] > 2)
    batch = saeviz.FeatureBatch(data.space, data.item_ids, csr_array(dense))
    ratings = {**data.ratings, "has": (data.ratings["liking"] > 1).astype(float)}
    return replace(data, ratings=ratings, features=saeviz.FeatureStream(data.space, lambda: iter([batch])))


CASES = [
    (Spearman, LinearOptions(split=0.6), 0),
    (Spearman, LinearOptions(**MAX_T), 0),
    (Spearman, LinearOptions(), 20),
    (Spearman, LinearOptions(errors="permutation", permutations=39), 20),
    (PearsonBH, LinearOptions(**MAX_T), 0),
    (PointBiserial, LinearOptions(errors="hc2"), 0),
    (Partial, PartialOptions(control=["calm"], **MAX_T), 0),
    (AUC, AreaOptions(), 20),
    (AUC, AreaOptions(**MAX_T), 0),
    (Moderation, ModerationOptions(moderators=["has"], control=["calm"], ratings=["liking"], errors="hc2"), 0),
    (Moderation, ModerationOptions(moderators=["calm"], rater_groups=[["liking", "has"]]), 20),
]


@pytest.mark.parametrize(("scorer", "options", "groups"), CASES)
def test_correlations(tmp_path, scorer, options, groups):
    check_blocks(lambda: scorer(options, Surroundings(tmp_path).context), hard_input(groups=groups))


@pytest.mark.parametrize("left_out", [0, 7])
def test_monosemanticity(tmp_path, left_out):
    """By two embeddings, which some images lack."""
    data = hard_input(groups=20)
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(data.n_items, dim)).astype(np.float32) for dim in (5, 3))
    first[3 : 3 + left_out] = np.nan
    second[:left_out] = 0
    options = MonosemanticityOptions(definition="global", include_self_pairs=bool(left_out))
    check_blocks(
        lambda: Monosemanticity(options, Surroundings(tmp_path).context),
        replace(data, embeddings=first, second_embeddings=second),
    )


def test_monosemanticity_of_top_images_takes_no_copy_of_the_features():
    data = replace(score_input(), embeddings=np.ones((40, 2), np.float32))
    assert Monosemanticity(MonosemanticityOptions(), saeviz.Context()).in_blocks(data) is None


@pytest.mark.parametrize(
    ("scorer", "options"),
    [
        (Spearman, LinearOptions()),
        (PearsonBH, LinearOptions()),
        (Moderation, ModerationOptions(moderators=["calm"])),
    ],
)
def test_where_there_is_nothing_to_compare_with_nothing_is_divided(scorer, options):
    data = score_input()
    data = replace(data, ratings={name: np.full(data.n_items, np.nan) for name in data.ratings})
    data = data if scorer is Moderation else replace(data, ratings={})
    scorer = scorer(options, saeviz.Context())
    assert not [name for name in ("in_parts", "in_blocks") if getattr(scorer, name, lambda _: None)(data)]
    assert list(scorer.score(data)) == []


def test_with_samples_and_with_many_ratings_there_are_no_blocks(tmp_path):
    context = Surroundings(tmp_path).context
    names = [f"rating {number}" for number in range(101)]
    assert Spearman(LinearOptions(), context).in_blocks(score_input(ratings=names)) is None


@pytest.mark.parametrize(
    ("capability", "tested"),
    [
        ("in_blocks", {Monosemanticity, *(case[0] for case in CASES)}),
        ("in_parts", {PearsonBH, PointBiserial, Partial, Raters, Redundancy}),  # in test_merging_scorers.py
    ],
)
def test_every_bundled_scorer_that_can_be_divided_is_divided_at_random_in_a_test(capability, tested):
    manager = Manager.discover()
    factories = {manager.factory(manager.offer("scorer", name)) for name in manager.names("scorer")}
    assert {one for one in factories if hasattr(one, capability)} == tested

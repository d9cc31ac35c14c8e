"""Bundled scorers whose scores are computed from parts of the images."""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce

import numpy as np
import pytest
from scipy.sparse import csr_array

import saeviz
from saeviz.testing import MergingScorerContract
from saeviz.testing.data import score_input
from saeviz.testing.merging import assert_same_results, random_parts
from saeviz.values.merging import MergeTree
from saeviz_correlation.options import BootstrapOptions, LinearOptions, PartialOptions
from saeviz_correlation.partial import Partial
from saeviz_correlation.scorer import PearsonBH, PointBiserial
from saeviz_npz import NpzOptions
from saeviz_npz.store import NpzStore
from saeviz_raters import RatersOptions
from saeviz_raters.scorer import Raters
from saeviz_redundancy import RedundancyOptions
from saeviz_redundancy.scorer import Redundancy


class TestPearson(MergingScorerContract):
    tolerance = 1e-7  # of p where r is about 0; of r see below

    @pytest.fixture
    def make(self):
        return lambda context: PearsonBH(LinearOptions(), context)


class TestPearsonOfWhatIsRatedInSomePartsOnly(MergingScorerContract):
    tolerance = 1e-7

    @pytest.fixture
    def make(self):
        return lambda context: PearsonBH(LinearOptions(min_active=3), context)

    @pytest.fixture
    def data(self):
        """Of one rating there are 40 in the middle, of another none in the first part; feature 3 is far from zero."""
        data = score_input(2100, rows_per_batch=700, ratings=("liking", "calm", "few"))
        data.ratings["calm"][:1500] = np.nan
        data.ratings["few"][[*range(1000), *range(1040, 2100)]] = np.nan
        dense = data.features.matrix().toarray()
        dense[:, 3] += 1e4
        batch = saeviz.FeatureBatch(data.space, data.item_ids, csr_array(dense))
        return replace(data, features=saeviz.FeatureStream(data.space, lambda: iter([batch])))


class TestPointBiserialWithASplit(MergingScorerContract):
    tolerance = 1e-7

    @pytest.fixture
    def make(self):
        return lambda context: PointBiserial(LinearOptions(split=0.6), context)


class TestPartial(MergingScorerContract):
    tolerance = 1e-7

    @pytest.fixture
    def make(self):
        return lambda context: Partial(PartialOptions(control=["calm"]), context)


class TestRedundancy(MergingScorerContract):
    @pytest.fixture
    def make(self):
        return lambda context: Redundancy(RedundancyOptions(threshold=0.6), context)

    @pytest.fixture
    def data(self):
        """Features 2 and 3 fire together."""
        data = score_input(2100, rows_per_batch=700)
        dense = data.features.matrix().toarray()
        dense[:, 3] = 3 * dense[:, 2] + 0.3 * dense[:, 3]
        batch = saeviz.FeatureBatch(data.space, data.item_ids, csr_array(dense))
        return replace(data, features=saeviz.FeatureStream(data.space, lambda: iter([batch])))

    def test_the_pair_is_found(self, scorer, data):
        list(scorer.score(data))
        cluster = next(column.values for column in scorer.combine([]) if column.name == "cluster")
        assert cluster[2] == cluster[3]
        assert len(set(cluster[2:])) == 9


class TestRaters(MergingScorerContract):
    @pytest.fixture
    def make(self):
        return lambda context: Raters(RatersOptions(), context)

    @pytest.fixture
    def data(self):
        """Five raters, each of some of the images, who differ in what they make of feature 3."""
        data = score_input(2100, rows_per_batch=700, ratings=("liking", "calm"))
        individual = {name: rated_by_five(data, values) for name, values in data.ratings.items()}
        return replace(data, individual=individual)


def rated_by_five(data, values):
    random = np.random.default_rng(1)
    given = np.isfinite(values)[:, None] & (random.random((data.n_items, 5)) < 0.4)
    rows, raters = np.nonzero(given)
    tastes = data.features.matrix().toarray()[:, [3]] * random.normal(size=5)
    numbers = values[rows] + tastes[rows, raters] + random.normal(size=rows.size)
    return saeviz.IndividualRatings(rows, raters, numbers, tuple("abcde"))


def test_sums_of_more_raters_than_fit_into_memory_do_not_merge(monkeypatch):
    data = score_input(60, ratings=("liking",))
    data = replace(data, individual={"liking": rated_by_five(data, data.ratings["liking"])})
    scorer = Raters(RatersOptions(), saeviz.Context())
    merged = list(scorer.score(data))
    monkeypatch.setattr("saeviz_raters.scorer.LARGEST_STATE", 10)
    assert scorer.in_parts(data) is None
    assert_same_results(list(scorer.score(data)), merged, 1e-9)


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        (BootstrapOptions(correction="max-t"), 0),
        (BootstrapOptions(errors="hc2"), 0),
        (BootstrapOptions(), 30),
        (BootstrapOptions(bootstrap=200), 0),
    ],
)
def test_what_needs_all_images_of_a_feature_does_not_merge(options, groups):
    scorer = PearsonBH(options, saeviz.Context())
    assert scorer.in_parts(score_input(60, groups=groups)) is None


@pytest.mark.parametrize("seed", range(3))
def test_r_and_its_interval_differ_by_rounding_only(seed):
    data = score_input(900, 200, rows_per_batch=900, seed=seed)
    scores = PearsonBH(LinearOptions(), saeviz.Context()).in_parts(data)
    random = np.random.default_rng(seed)
    divided = reduce(scores.merge, map(scores.partial, random_parts(data, random)))
    for found, expected in zip(scores.finish(divided), scores.finish(saeviz.merged_parts(scores, data)), strict=True):
        if expected.name in ("r", "ci_low", "ci_high"):
            np.testing.assert_allclose(found.values, expected.values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shard_rows", [300, 1500])
def test_workers_that_read_their_parts_from_a_store_give_the_run_s_scores_to_the_last_bit(tmp_path, shard_rows):
    data = score_input(2500, 6, rows_per_batch=500, ratings=("liking",))
    store = NpzStore(NpzOptions(shard_rows=shard_rows), saeviz.Context(workdir=tmp_path))
    for batch in data.features.batches():
        store.write(batch)
    shares = [slice(0, 1024), slice(1024, 2048), slice(2048, 2500)]
    tree = MergeTree(PearsonBH(LinearOptions(), saeviz.Context()).in_parts(data).merge)
    for number in (2, 0, 1):
        worker = PearsonBH(LinearOptions(), saeviz.Context()).in_parts(data)
        rows = shares[number]
        part = data.part(rows, partial(store.read, data.space, data.item_ids[rows]))
        tree.add(number, worker.partial(part))

    scorer = PearsonBH(LinearOptions(), saeviz.Context())
    found = list(scorer.in_parts(data).finish(tree.result()))
    assert_same_results(found, list(scorer.score(data)), 0.0)


def test_monosemanticity_of_top_images_reads_no_features_whose_summary_is_known():
    data = score_input(300, 6)
    data = replace(data, embeddings=np.nan_to_num(data.embeddings, nan=1.0))

    def refuse():
        raise AssertionError

    summary = saeviz.FeatureSummary(data.features.statistics, data.features.top_images(32))
    known = replace(data, features=saeviz.FeatureStream(data.space, refuse, data.item_ids).knowing(summary))
    found, expected = (list(saeviz.component("scorer", "monosemanticity").score(one)) for one in (known, data))
    assert_same_results(found, expected, 0.0)


@pytest.mark.parametrize("constant", [0.1, 1e6 + 0.1])
def test_a_constant_feature_has_no_r_however_images_are_divided(constant):
    data = score_input(2500, 3, ratings=("liking",))
    matrix = np.full((2500, 3), constant)
    matrix[::3, 0] += constant * 1e-6
    batch = saeviz.FeatureBatch(data.space, data.item_ids, csr_array(matrix))
    data = saeviz.ScoreInput(
        data.space, data.item_ids, saeviz.FeatureStream(data.space, lambda: iter([batch])), None, data.ratings
    )
    r = next(column for column in PearsonBH(LinearOptions(), saeviz.Context()).score(data) if column.name == "r")
    assert np.isfinite(r.values[0])
    assert np.isnan(r.values[1])
    rated = np.isfinite(data.ratings["liking"])
    expected = np.corrcoef(batch.matrix.toarray()[rated, 0].astype(float), data.ratings["liking"][rated])[0, 1]
    assert r.values[0] == pytest.approx(expected, rel=1e-7)

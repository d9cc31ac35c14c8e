"""Scorer `redundancy`: what counts as a copy, checked against all pairs of dense columns."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.sparse import csr_array

import saeviz
from saeviz import ConfigError, DataError, FeatureBatch, FeatureSpace, FeatureStream, ScoreColumn, ScoreInput
from saeviz.testing import ScorerContract
from saeviz_redundancy import RedundancyOptions, clusters, coactivation
from saeviz_redundancy.coactivation import CoActivation
from saeviz_redundancy.scorer import Redundancy


def make_input(dense, layer=7, tokens="cls", size=64, order=None):
    """Features of images `image 0`, `image 1`, ..., in this order or another."""
    dense = np.asarray(dense, dtype=np.float32)
    order = np.arange(len(dense)) if order is None else order
    space = FeatureSpace(layer, tokens, dense.shape[1])
    ids = tuple(f"image {number}" for number in order)

    def read():
        for start in range(0, len(dense), size):
            rows = slice(start, start + size)
            yield FeatureBatch(space, ids[rows], csr_array(dense[order[rows]]))

    return ScoreInput(space, ids, FeatureStream(space, read), None, {})


def cluster(*inputs, context=None, **options):
    """The columns `cluster` and `cluster_size` of all spaces one after the other, and the facts."""
    scorer = Redundancy(RedundancyOptions(**options), context or saeviz.Context())
    columns = [column for data in inputs for column in scorer.score(data)]
    results = [*columns, *scorer.combine(columns)]
    found = {
        name: np.concatenate([r.values for data in inputs for r in results if is_column(r, name, data.space)])
        for name in ("cluster", "cluster_size")
    }
    facts = {r.name.removeprefix("redundancy_"): r.value for r in results if not isinstance(r, ScoreColumn)}
    return found["cluster"], found["cluster_size"], facts


def is_column(result, name, space):
    return isinstance(result, ScoreColumn) and (result.name, result.space) == (name, space)


def sparse_features(generator, n_images, n_features, density=0.1):
    active = generator.random((n_images, n_features)) < density
    return generator.gamma(2.0, size=(n_images, n_features)) * active


def families(seed, n_images=300, n_families=20, per_family=4):
    """Random features, and after each some that are more or less like it."""
    generator = np.random.default_rng(seed)
    base = sparse_features(generator, n_images, n_families, generator.uniform(0.05, 0.9))
    noise = sparse_features(generator, n_images, n_families * per_family, 0.3)
    share = generator.uniform(0, 1.5, n_families * per_family)
    return np.repeat(base, per_family, axis=1) + share * noise


def by_all_pairs(dense, threshold, min_active=10):
    """The clusters of the definition, from NumPy's correlations of all pairs."""
    dense = np.asarray(dense, dtype=np.float32).astype(float)
    n_active = (dense > 0).sum(axis=0)
    eligible = np.flatnonzero((n_active >= min_active) & (dense.std(axis=0) > 0))
    r = np.eye(dense.shape[1])
    r[np.ix_(eligible, eligible)] = np.corrcoef(dense[:, eligible].T)
    leader = np.full(dense.shape[1], np.nan)
    leaders: list[int] = []
    for feature in sorted(eligible, key=lambda feature: (-n_active[feature], feature)):
        alike = [other for other in leaders if r[feature, other] >= threshold]
        leader[feature] = max(alike, key=lambda other: r[feature, other], default=feature)
        if not alike:
            leaders.append(feature)
    return leader


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0.6, 0.97))
def test_clusters_are_those_of_all_pairs_of_dense_columns(seed, threshold):
    dense = families(seed)
    found, size, _ = cluster(make_input(dense), threshold=threshold)

    expected = by_all_pairs(dense, threshold)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(size, [(expected == leader).sum() for leader in expected])


def test_copies_are_found_however_scaled_shifted_or_noisy_and_in_other_spaces():
    generator = np.random.default_rng(0)
    dense = sparse_features(generator, 400, 30)
    dense[:, 1] = 1000 * dense[:, 0]
    dense[:, 2] = 0.001 * dense[:, 0] + 5
    dense[:, 3] = dense[:, 0] + 0.2 * sparse_features(generator, 400, 1)[:, 0]
    others = sparse_features(generator, 400, 50)
    others[:, 40] = 2 * dense[:, 0]
    found, size, facts = cluster(make_input(dense), make_input(others, layer=11), make_input(dense, tokens="patch-max"))

    copies = [0, 1, 2, 3, 30 + 40, 80 + 0, 80 + 1, 80 + 2, 80 + 3]
    assert set(np.flatnonzero(found == found[0])) == set(copies)
    assert found[0] == 2, "named after the row of its most active member, which is always on"
    assert set(size[copies]) == {9}
    alone = np.setdiff1d(np.arange(30, 80), copies)
    np.testing.assert_array_equal(found[alone], alone)
    pairs = np.arange(4, 30)
    np.testing.assert_array_equal(found[80 + pairs], pairs)
    assert facts == {
        "threshold": 0.8, "features": 110, "clusters": 27, "features_in_clusters": 9 + 52, "largest_cluster": 9,
    }  # fmt: skip


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1e30, 1e33])
def test_how_large_the_activations_are_does_not_matter(size):
    dense = families(4).astype(np.float32).astype(float)
    dense = size * np.round(512 * dense / dense.max())  # exact in float32 at any size
    found, _, facts = cluster(make_input(dense))

    np.testing.assert_array_equal(found, by_all_pairs(dense / size, 0.8))
    assert facts["clusters"] > 0


def test_features_that_are_often_on_are_no_copies_for_that():
    """Their cosine is near 1 whatever they do; they do not go up and down together."""
    generator = np.random.default_rng(1)
    dense = 10 + generator.random((500, 40))
    assert np.corrcoef(dense.T)[~np.eye(40, dtype=bool)].max() < 0.3

    found, _, _ = cluster(make_input(dense), threshold=0.6)

    np.testing.assert_array_equal(found, np.arange(40))


def test_small_steps_do_not_join_what_is_far_apart():
    """Each feature is like the next one; a chain would join all of them."""
    generator = np.random.default_rng(2)
    pulses = generator.random((20, 1000))
    dense = np.column_stack([pulses[step : step + 10].sum(axis=0) for step in range(11)])
    r = np.corrcoef(dense.T)
    assert (np.diag(r, 1) > 0.85).all()

    found, _, _ = cluster(make_input(dense), threshold=0.8)

    assert len(np.unique(found)) >= 3
    for feature, leader in enumerate(found.astype(int)):
        assert feature == leader or r[feature, leader] >= 0.8


def test_what_fires_too_rarely_or_never_changes_is_not_considered():
    generator = np.random.default_rng(3)
    dense = sparse_features(generator, 200, 8, 0.5)
    dense[:, 0] = 0
    dense[:, 1] = 7
    dense[:, 2] = 0
    dense[5, 2] = 1
    dense[:, 3] = np.where(np.arange(200) < 9, 1.0, 0)
    dense[:, 4] = np.where(np.arange(200) < 10, 1.0, 0)
    dense[:, 5] = 1 + 1e-6 * generator.random(200)
    found, size, facts = cluster(make_input(dense))

    np.testing.assert_array_equal(np.isnan(found), [True, True, True, True, False, True, False, False])
    np.testing.assert_array_equal(np.isnan(size), np.isnan(found))
    assert facts["features"] == 3
    found, size, _ = cluster(make_input(np.column_stack([dense, dense[:, 2]])), min_active=1)
    assert (found[8], size[8]) == (2, 2), "on request, two features that fire on the same single image"


def test_nothing_to_compare_is_no_error():
    for dense in (np.zeros((0, 4)), np.ones((1, 4)), np.eye(2, 4), np.zeros((50, 4))):
        found, size, facts = cluster(make_input(dense))
        assert np.isnan(found).all()
        assert np.isnan(size).all()
        assert (facts["features"], facts["clusters"], facts["largest_cluster"]) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_neither_the_order_of_images_nor_batches_nor_the_seed_change_anything(seed):
    dense = families(seed, n_images=500)
    copies = dense[:, :20] * np.float32(0.1)
    expected = cluster(make_input(dense), make_input(copies, layer=8))[0]
    order = np.random.default_rng(seed).permutation(len(dense))

    for size in (1, 7, 1000):
        one, other = make_input(dense, order=order, size=size), make_input(copies, layer=8, order=order, size=31)
        np.testing.assert_array_equal(cluster(one, other, context=saeviz.Context(seed=seed + 5))[0], expected)


def test_spaces_that_stream_in_different_steps_are_compared_image_by_image():
    """One space is so full that it comes in several pieces, the other in one."""
    generator = np.random.default_rng(4)
    sparse = sparse_features(generator, 3000, 12)
    full = 1 + generator.random((3000, 800))
    full[:, 100:112] += sparse
    few, many = make_input(sparse), make_input(full, layer=11, size=100)
    assert len(list(few.chunks())) < len(list(many.chunks()))

    found, _, _ = cluster(few, many)

    np.testing.assert_array_equal(found[:12], 12 + np.arange(100, 112))


def test_pairs_just_above_the_threshold_are_found():
    """A pair is missed with a probability of 3 in 100,000."""
    generator = np.random.default_rng(5)
    n_pairs, n_images = 1500, 400
    one, other = generator.gamma(0.3, size=(2, n_images, n_pairs))
    one -= one.mean(axis=0)
    other -= other.mean(axis=0)
    one /= np.linalg.norm(one, axis=0)
    other -= one * (one * other).sum(axis=0)
    other /= np.linalg.norm(other, axis=0)
    like = 0.701 * one + np.sqrt(1 - 0.701**2) * other
    dense = np.column_stack([one, like])
    dense -= dense.min(axis=0)

    found, _, _ = cluster(make_input(dense), threshold=0.7)

    assert (found[:n_pairs] != found[n_pairs:]).sum() <= 1


@pytest.mark.parametrize("few", [0, 20])
@pytest.mark.parametrize(("max_waiting", "ranks_at_once"), [(0, 7), (50, 16), (10**9, 3)])
def test_many_candidates_are_told_in_several_goes_with_the_same_outcome(monkeypatch, max_waiting, ranks_at_once, few):
    dense = np.column_stack([families(6), families(6)])
    expected = cluster(make_input(dense), threshold=0.7)[0]
    monkeypatch.setattr(clusters, "MAX_WAITING", max_waiting)
    monkeypatch.setattr(clusters, "RANKS_AT_ONCE", ranks_at_once)
    monkeypatch.setattr(clusters, "FEW", few)

    np.testing.assert_array_equal(cluster(make_input(dense), threshold=0.7)[0], expected)
    np.testing.assert_array_equal(expected, by_all_pairs(dense, 0.7))


def test_of_thousands_of_copies_few_pairs_are_told_exactly(monkeypatch):
    """Their pairs are millions; once one is a leader, those among its members are needless."""
    generator = np.random.default_rng(8)
    dense = sparse_features(generator, 100, 1, 0.5) * generator.uniform(1, 2, 3000)
    told = []
    similarity = CoActivation.similarity
    monkeypatch.setattr(
        CoActivation, "similarity", lambda self, pairs: told.append(pairs.later.size) or similarity(self, pairs)
    )

    found, size, _ = cluster(make_input(dense))

    assert (set(found), set(size)) == ({0}, {3000})
    assert sum(told) <= 2 * clusters.FEW


class Decoder:
    """An extractor that shows decoder directions; features 0 and 1 point nearly the same way."""

    def __init__(self):
        self.asked = []

    def decoder(self, space):
        self.asked.append(str(space))
        directions = np.random.default_rng(0).standard_normal((space.n_features, 64)).astype(np.float32)
        directions[1] = 3 * directions[0] + 0.1 * directions[2]
        return directions


def test_decoder_directions_link_features_of_one_layer_where_that_is_asked_for():
    generator = np.random.default_rng(7)
    inputs = [
        make_input(sparse_features(generator, 300, 6), layer, tokens)
        for layer, tokens in ((7, "cls"), (7, "patch-max"), (11, "cls"))
    ]
    extractor = Decoder()
    context = saeviz.Context(peer={"extractor": extractor}.__getitem__)
    assert len(set(cluster(*inputs, context=context)[0])) == 18
    assert extractor.asked == []

    found, size, facts = cluster(*inputs, context=context, decoder_threshold=0.95)

    assert len({found[0], found[1], found[6], found[7]}) == 1, "two of a kind, each at two tokens"
    assert len({found[12], found[13]}) == 1
    assert found[12] != found[0]
    np.testing.assert_array_equal(found[2:6], found[8:12])
    assert sorted(size) == [1] * 4 + [2] * 10 + [4] * 4
    assert facts["decoder_threshold"] == 0.95


def test_decoders_cannot_be_compared_where_the_extractor_has_none():
    context = saeviz.Context(peer={"extractor": object()}.__getitem__)
    with pytest.raises(ConfigError, match=r"scorers\.redundancy\.decoder_threshold.*no decoder"):
        cluster(make_input(families(0)), context=context, decoder_threshold=0.9)


def test_spaces_of_different_images_are_refused():
    dense = families(0)
    with pytest.raises(DataError, match="different images"):
        cluster(make_input(dense), make_input(dense, layer=11, order=np.arange(len(dense))[::-1]))


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1}, {"threshold": 0.5}, {"decoder_threshold": 0}, {"min_active": 0}, {"treshold": 0.9}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        RedundancyOptions(**wrong)


class TestContract(ScorerContract):
    component = Redundancy

    @pytest.fixture
    def make(self):
        return lambda context: Redundancy(RedundancyOptions(), context)


def correlated(n_images, n_features, shared, layer):
    """Features that all fire everywhere and correlate by about shared ** 2 / (1 + shared ** 2)."""
    generator = np.random.default_rng(layer)
    common = np.random.default_rng(0).normal(size=(n_images, 1))
    return np.abs(5 + shared * common + generator.normal(size=(n_images, n_features)))


@pytest.mark.parametrize(("shared", "n_clusters"), [(1.75, 0), (2.3, 1)])
def test_dense_features_that_all_correlate_take_little_memory(shared, n_clusters):
    """Both just below and well above the threshold: half a million pairs, each of which had to be told on its own."""
    inputs = [make_input(correlated(1_500, 512, shared, layer), layer, size=1_500) for layer in (1, 2)]
    tracemalloc.start()
    try:
        found, _, facts = cluster(*inputs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert facts["clusters"] == n_clusters
    assert len(set(found)) == (1 if n_clusters else 1024)
    assert peak < 200e6


def test_a_dense_product_tells_what_pair_after_pair_tells(monkeypatch):
    dense = correlated(400, 530, np.linspace(0.5, 3, 530), 1)
    found = cluster(make_input(dense), min_active=1)
    monkeypatch.setattr(coactivation, "WORTHWHILE", np.inf)
    monkeypatch.setattr(coactivation, "VALUES_AT_ONCE", 5_000)
    again = cluster(make_input(dense), min_active=1)
    np.testing.assert_array_equal(found[0], again[0])
    assert found[2] == again[2]
    assert found[2]["features_in_clusters"] > 20

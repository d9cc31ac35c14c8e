"""Scorer `map`: principal components of dense columns, one orientation, and places only for features that fire."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.sparse import csr_array, random_array

import saeviz
import saeviz_map
from saeviz import (
    ConfigError,
    DataError,
    FeatureBatch,
    FeatureSpace,
    FeatureStream,
    ImageColumn,
    ScoreColumn,
    ScoreFact,
    ScoreInput,
)
from saeviz.testing import ScorerContract
from saeviz_map import MapOptions
from saeviz_map.scorer import FeatureMap


def make_input(features, layer=7, tokens="cls", size=64, ids=None):
    features = csr_array(features, dtype=np.float32)
    space = FeatureSpace(layer, tokens, features.shape[1])
    ids = tuple(f"image {number}" for number in range(features.shape[0])) if ids is None else ids

    def read():
        for start in range(0, features.shape[0], size):
            yield FeatureBatch(space, ids[start : start + size], features[start : start + size])

    return ScoreInput(space, ids, FeatureStream(space, read), None, {})


def drawn(*inputs, context=None, method="pca", **options):
    """The places of the features of all spaces, one after the other, and the facts."""
    scorer = FeatureMap(MapOptions(method=method, **options), context or saeviz.Context())
    assert not [column for data in inputs for column in scorer.score(data)]
    results = list(scorer.combine([]))
    columns = {(r.name, r.space): r.values for r in results if isinstance(r, ScoreColumn)}
    places = [np.stack([columns[name, data.space] for name in ("map_x", "map_y")], axis=1) for data in inputs]
    return np.concatenate(places), {r.name: r.value for r in results if isinstance(r, ScoreFact)}


def drawn_images(data, **options):
    """The places of the images, and the names of their columns that the options declare."""
    scorer = FeatureMap(MapOptions(**options), saeviz.Context())
    list(scorer.score(data))
    found = {r.name: r.values for r in scorer.combine([]) if isinstance(r, ImageColumn)}
    return np.stack(list(found.values()), axis=1), tuple(scorer.options.columns_of_images([]))


def concepts(n_images, n_features, seed=0, n_concepts=6):
    """Features that fire with one of several concepts, some more often than others, and that concept of each."""
    generator = np.random.default_rng(seed)
    shown = generator.random((n_images, n_concepts)) < np.linspace(0.1, 0.6, n_concepts)
    concept = generator.integers(0, n_concepts, n_features)
    fires = shown[:, concept] & (generator.random((n_images, n_features)) < 0.7)
    return fires * generator.gamma(2, size=fires.shape), concept


def by_definition(dense):
    """The first two principal components of the standardised columns, made from NumPy's full decomposition."""
    points = (dense - dense.mean(axis=0)).T
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    points = points - points.mean(axis=0)
    left, singular, _ = np.linalg.svd(points, full_matrices=False)
    return turned(left[:, :2] * singular[:2]), (singular[:2] ** 2).sum() / (singular**2).sum()


def turned(found):
    """The longer tails right and up, the furthest coordinate 1."""
    found = found * np.where((found**3).sum(axis=0) < 0, -1, 1)
    return found / np.abs(found).max()


@pytest.mark.parametrize(("n_images", "n_features"), [(300, 80), (40, 200), (12, 9)])
def test_places_are_the_principal_components_of_dense_columns(n_images, n_features):
    dense, _ = concepts(n_images, n_features, seed=1)
    dense = dense[:, (dense > 0).any(axis=0)].astype(np.float32)
    found, facts = drawn(make_input(dense))
    expected, share = by_definition(dense.astype(float))

    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert facts["map_variance_of_two_components"] == pytest.approx(share, abs=1e-4)
    assert (facts["map_by"], facts["map_method"]) == ("coactivation", "pca")


def test_images_have_places_by_the_same_components():
    dense, _ = concepts(120, 60, seed=1)
    dense = dense[:, (dense > 0).any(axis=0)].astype(np.float32)
    points = (dense - dense.mean(axis=0)).T.astype(float)
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    _, singular, right = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    found, declared = drawn_images(make_input(dense), method="pca")
    assert declared == ("map_x", "map_y")
    np.testing.assert_allclose(found, turned(right[:2].T * singular[:2]), atol=1e-4)


def test_images_on_which_the_same_features_fire_are_near_each_other():
    dense, _ = concepts(100, 80, seed=3)
    found, _ = drawn_images(make_input(np.concatenate([dense, dense])), method="pca")
    np.testing.assert_allclose(found[:100], found[100:], atol=1e-6)


def test_several_spaces_share_one_map():
    dense, _ = concepts(200, 90, seed=2)
    found, _ = drawn(make_input(dense[:, :30], layer=1, size=7), make_input(dense[:, 30:], layer=2, size=200))
    together, _ = drawn(make_input(dense))
    np.testing.assert_allclose(found, together, atol=1e-6)


def test_scale_and_offset_of_a_feature_do_not_matter_nor_how_often_it_fires():
    dense, _ = concepts(200, 60)
    dense[:, 1] = 1000 * dense[:, 0]
    dense[:, 2] = 0.001 * dense[:, 0] + 5
    found, _ = drawn(make_input(dense))
    np.testing.assert_allclose(found[[1, 2]], found[[0, 0]], atol=1e-4)


def test_features_of_a_concept_are_near_each_other():
    dense, concept = concepts(400, 120, seed=3, n_concepts=3)
    found, _ = drawn(make_input(dense))
    centres = np.array([found[concept == one].mean(axis=0) for one in range(3)])
    distances = np.linalg.norm(found[:, None] - centres[None], axis=2)
    assert (distances.argmin(axis=1) == concept).all()


def test_features_that_never_fire_or_never_change_have_no_place():
    dense, _ = concepts(100, 30)
    dense[:, 4] = 0
    dense[:, 9] = 2.5
    found, _ = drawn(make_input(dense))
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == [4, 9]
    np.testing.assert_array_equal(np.isnan(found[:, 0]), np.isnan(found[:, 1]))
    assert np.nanmax(np.abs(found)) == 1


def test_the_order_of_features_and_the_seed_change_nothing():
    dense, _ = concepts(150, 70, seed=4)
    found, _ = drawn(make_input(dense))
    order = np.random.default_rng(0).permutation(70)
    np.testing.assert_allclose(drawn(make_input(dense[:, order]), seed=5)[0], found[order], atol=1e-4)


def test_one_dimension_is_a_line_and_none_a_point():
    column = np.random.default_rng(0).random(50)
    two_kinds = np.stack([column, column, -column + 1], axis=1)
    found, _ = drawn(make_input(two_kinds))
    assert (found[:, 1] == 0).all()
    np.testing.assert_allclose(np.abs(found[:, 0]).max(), 1)
    assert (drawn(make_input(np.stack([column, column], axis=1)))[0] == 0).all()


class WithDecoder:
    def decoder(self, space):
        generator = np.random.default_rng(space.layer)
        return 3 * generator.normal(size=(space.n_features, 16)).astype(np.float32)


def test_a_map_by_decoder_directions_is_one_for_each_sae():
    dense, _ = concepts(60, 40)
    dense[:, 3] = 0
    at_patches = dense.copy()
    at_patches[:, 5] = 0
    inputs = [make_input(dense, layer=1), make_input(at_patches, 1, "patch-max"), make_input(dense[:, :20], layer=2)]
    context = saeviz.Context(peer={"extractor": WithDecoder()}.__getitem__)
    found, facts = drawn(*inputs, context=context, by="decoder")

    decoder = WithDecoder().decoder(inputs[0].space)
    kept = np.setdiff1d(np.arange(40), [3])
    unit = decoder[kept] / np.linalg.norm(decoder[kept], axis=1, keepdims=True)
    left, singular, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    expected = left[:, :2] * singular[:2]
    expected *= np.where((expected**3).sum(axis=0) < 0, -1, 1)
    np.testing.assert_allclose(found[kept], expected / np.abs(expected).max(), atol=1e-5)
    np.testing.assert_array_equal(found[40:80][np.setdiff1d(kept, [5])], found[:40][np.setdiff1d(kept, [5])])
    assert np.isnan(found[[3, 43, 45, 83]]).all()
    assert len(facts["map_variance_of_two_components"]) == 2
    assert facts["map_by"] == "decoder"


def test_an_extractor_without_decoder_and_spaces_of_different_images_are_refused():
    dense, _ = concepts(30, 12)
    context = saeviz.Context(peer={"extractor": object()}.__getitem__)
    with pytest.raises(ConfigError, match=r"scorers\.map\.by.*no decoder"):
        drawn(make_input(dense), context=context, by="decoder")
    other = make_input(dense, layer=8, ids=tuple(f"other {number}" for number in range(30)))
    with pytest.raises(DataError, match="different images"):
        drawn(make_input(dense), other)


def test_without_pacmap_its_use_is_refused_before_the_run_and_pca_is_the_default(monkeypatch):
    monkeypatch.setattr(saeviz_map, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"scorers\.map\.method: .*pip install 'saeviz\[map\]'"):
        MapOptions(method="pacmap").check_data("scorers.map", (), ())
    MapOptions().check_data("scorers.map", (), ())
    dense, _ = concepts(100, 80)
    _, facts = drawn(make_input(dense), method=None)
    assert facts["map_method"] == "pca"


@pytest.mark.slow
def test_pacmap_keeps_concepts_together_and_says_the_same_twice():
    pytest.importorskip("pacmap")
    dense, concept = concepts(300, 240, seed=5)
    found, facts = drawn(make_input(dense), method=None)
    again, _ = drawn(make_input(dense, size=11), method="pacmap")

    assert facts["map_method"] == "pacmap"
    np.testing.assert_allclose(again, found, atol=1e-6)
    assert np.abs(found).max() == 1
    distances = np.linalg.norm(found[:, None] - found[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (concept[distances.argmin(axis=1)] == concept).mean() > 0.95
    few, facts = drawn(make_input(dense[:, :10]), method="pacmap")
    assert facts["map_method"] == "pca", "too few features for it"
    assert np.isfinite(few).all()


@pytest.mark.slow
def test_memory_is_that_of_a_few_vectors():
    features = random_array((3_000, 20_000), density=0.01, format="csr", rng=0, dtype=np.float32)
    data = make_input(features)
    tracemalloc.start()
    try:
        drawn(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60e6, "a dense matrix would take 240 MB"


def test_a_run_has_the_places_in_its_table_and_says_how_they_came_about(fake_run):
    run = saeviz.run(fake_run, settings=['scorers=[{use="map", method="pca"}]'], plan=saeviz.Plan(last="score"))
    placed = run.scores["map_x"].notna()
    assert (placed == (run.scores["n_active"] > 0)).all()
    assert placed.any()
    assert run.scores["map_y"].notna().equals(placed)
    assert {name for name in run.facts if name.startswith("map_")} == {
        "map_by", "map_method", "map_variance_of_two_components",
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [{"by": "colour"}, {"method": "umap"}, {"seed": -1}, {"sead": 1}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        MapOptions(**wrong)


class TestContract(ScorerContract):
    component = FeatureMap

    @pytest.fixture
    def make(self):
        return lambda context: FeatureMap(MapOptions(method="pca"), context)

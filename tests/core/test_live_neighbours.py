"""The neighbours of a feature, against their definitions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array

import saeviz
from saeviz.formats import by_feature
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.reading import Grants
from saeviz.serving.live.neighbours import Neighbours
from saeviz.serving.live.opened import Live
from saeviz.testing.fake_extractor import FakeExtractor

FAKES = ["module:saeviz.testing.fakes"]


@pytest.fixture(scope="module")
def live(finished_once):
    live = Live(RunDir.open(finished_once), Grants(FAKES))
    live.prepare()
    yield live
    live.close()


@pytest.fixture
def run(live):
    return live.run


@pytest.fixture
def known(live):
    return Neighbours(live.run, live.by_feature)


def test_those_that_fire_on_the_same_images_are_those_of_the_largest_pearson_r(run, known):
    feature = saeviz.Feature.parse("layer1.cls/0")
    own, other = known.by_firing(feature)
    assert (own["space"], other["space"]) == ("layer1.cls", "layer2.cls")
    activations = run.activations(feature)
    for of_space in (own, other):
        dense = run.features(of_space["space"]).matrix.toarray().astype(float)
        varied = np.flatnonzero(dense.std(axis=0) > 0)
        r = {int(one): np.corrcoef(activations, dense[:, one])[0, 1] for one in varied}
        r = {saeviz.Feature(feature.layer if of_space is own else 2, "cls", one): value for one, value in r.items()}
        r.pop(feature, None)
        best = sorted((one for one in r if r[one] > 1e-9), key=r.__getitem__, reverse=True)[:12]
        assert [one["feature"] for one in of_space["features"]] == list(map(str, best))
        np.testing.assert_allclose([one["value"] for one in of_space["features"]], [r[one] for one in best])


def test_a_neighbour_comes_with_its_name(run, known):
    firing = known.by_firing(saeviz.Feature.parse("layer1.cls/0"))
    names = {one["feature"]: one["label"] for of_space in firing for one in of_space["features"]}
    labels = {str(feature): label.label for feature, label in run.labels.items()}
    assert set(names.values()) - {""}
    assert all(label == labels.get(feature, "") for feature, label in names.items())


def test_without_a_decoder_it_says_so(known):
    found, missing = known.by_direction(saeviz.Feature.parse("layer1.cls/0"))
    assert found is None
    assert "does not show its decoder" in missing


def test_similar_directions_are_of_the_largest_cosine_in_the_same_space(known, monkeypatch):
    decoder = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
    decoder[7] = 0
    monkeypatch.setattr(FakeExtractor, "decoder", lambda self, space: decoder, raising=False)
    found, _ = known.by_direction(saeviz.Feature.parse("layer2.cls/3"))

    unit = decoder / np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-9)
    cosines = unit @ unit[3]
    cosines[3] = -1
    best = [one for one in np.argsort(-cosines) if cosines[one] > 0][:12]
    assert [one["feature"] for one in found] == [f"layer2.cls/{one}" for one in best]
    np.testing.assert_allclose([one["value"] for one in found], cosines[best], rtol=1e-5)


def test_a_feature_that_never_fires_has_no_neighbours_and_is_none(tmp_path):
    space = saeviz.FeatureSpace(1, "cls", 3)
    dense = np.array([[0, 1, 2], [0, 3, 5], [0, 0, 0.5]], np.float32)
    copy = copied(tmp_path, space, dense)
    run = SimpleNamespace(spaces=[space], name=lambda feature: "")
    known = Neighbours(run, copy)
    assert known.by_firing(space.feature(0)) == [{"space": "layer1.cls", "features": []}]
    assert [one["feature"] for one in known.by_firing(space.feature(1))[0]["features"]] == ["layer1.cls/2"]


def test_features_that_are_the_same_on_all_images_are_no_neighbours(tmp_path):
    space = saeviz.FeatureSpace(1, "cls", 40)
    generator = np.random.default_rng(0)
    dense = np.tile(100 * generator.random(40), (300, 1)).astype(np.float32)
    dense[:, 0] = generator.random(300)
    known = Neighbours(SimpleNamespace(spaces=[space], name=lambda feature: ""), copied(tmp_path, space, dense))
    assert [known.by_firing(space.feature(one))[0]["features"] for one in range(40)] == [[]] * 40


def test_sums_over_images_are_those_of_the_matrix(tmp_path, monkeypatch):
    monkeypatch.setattr(by_feature, "TOGETHER", 7)
    generator = np.random.default_rng(0)
    dense = (generator.random((20, 9)) * (generator.random((20, 9)) < 0.4)).astype(np.float32)
    dense[:, 4] = dense[3] = 0
    space = saeviz.FeatureSpace(1, "cls", 9)
    copy = copied(tmp_path, space, dense)
    totals, squares = copy.moments("layer1.cls")
    np.testing.assert_allclose(totals, dense.sum(axis=0, dtype=float))
    np.testing.assert_allclose(squares, (dense.astype(float) ** 2).sum(axis=0))
    places, weights = np.array([3, 17, 0, 5]), np.array([2.0, -1.0, 0.5, 3.0])
    np.testing.assert_allclose(copy.weighted_sum("layer1.cls", places, weights), weights @ dense[places].astype(float))
    assert not copy.weighted_sum("layer1.cls", places[:0], weights[:0]).any()


def copied(folder, space, dense):
    batch = saeviz.FeatureBatch(space, tuple(map(str, range(len(dense)))), csr_array(dense))
    by_feature.write_by_feature(folder, [(space, [batch])])
    return by_feature.ByFeature(folder)

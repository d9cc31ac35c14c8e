"""The neighbours of a feature, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

import saeviz
from saeviz.serving.live.neighbours import Neighbours
from saeviz.testing.fake_extractor import FakeExtractor

FAKES = ["module:saeviz.testing.fakes"]


@pytest.fixture
def run(finished_run):
    return saeviz.open_run(finished_run.parent / "runs" / "fake", plugins=FAKES)


def test_those_that_fire_on_the_same_images_are_those_of_the_largest_pearson_r(run):
    feature = saeviz.Feature.parse("layer1.cls/0")
    found = Neighbours(run).of(feature)

    own, other = found["firing"]
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


def test_a_neighbour_comes_with_its_name(run):
    firing = Neighbours(run).of(saeviz.Feature.parse("layer1.cls/0"))["firing"]
    names = {one["feature"]: one["label"] for of_space in firing for one in of_space["features"]}
    labels = {str(feature): label.label for feature, label in run.labels.items()}
    assert set(names.values()) - {""}
    assert all(label == labels.get(feature, "") for feature, label in names.items())


def test_without_a_decoder_it_says_so(run):
    found = Neighbours(run).of(saeviz.Feature.parse("layer1.cls/0"))
    assert found["direction"] is None
    assert "does not show its decoder" in found["direction_missing"]


def test_similar_directions_are_of_the_largest_cosine_in_the_same_space(run, monkeypatch):
    decoder = np.random.default_rng(0).normal(size=(32, 5)).astype(np.float32)
    decoder[7] = 0
    monkeypatch.setattr(FakeExtractor, "decoder", lambda self, space: decoder, raising=False)
    found = Neighbours(run).of(saeviz.Feature.parse("layer2.cls/3"))["direction"]

    unit = decoder / np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-9)
    cosines = unit @ unit[3]
    cosines[3] = -1
    best = [one for one in np.argsort(-cosines) if cosines[one] > 0][:12]
    assert [one["feature"] for one in found] == [f"layer2.cls/{one}" for one in best]
    np.testing.assert_allclose([one["value"] for one in found], cosines[best], rtol=1e-5)


def test_a_feature_that_never_fires_has_no_neighbours(run, monkeypatch):
    monkeypatch.setattr(saeviz.Run, "activations", lambda self, feature: np.zeros(len(self.items)))
    found = Neighbours(run).of(saeviz.Feature.parse("layer1.cls/0"))
    assert all(of_space["features"] == [] for of_space in found["firing"])


def test_an_unknown_feature_is_an_error_that_names_the_spaces(run):
    with pytest.raises(saeviz.ConfigError, match="there are: layer1"):
        Neighbours(run).of(saeviz.Feature.parse("layer9.cls/0"))

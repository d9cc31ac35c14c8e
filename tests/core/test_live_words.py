"""Features found by words, and by a place in an image."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array

import saeviz
from saeviz.serving.live import words
from saeviz.serving.live.background import Background
from saeviz.testing.fake_extractor import FakeExtractor
from tests.live import FAKES, asking

FEATURES = ("layer1.cls/0", "layer1.cls/1", "layer1.cls/2")
"""How far red, green and blue exceed grey."""


def test_features_follow_the_similarity_of_images_to_the_words(client, run):
    found = client.get("/api/words", params={"text": "something blue"}).json()
    assert found["ready"]
    assert found["n_done"] == found["n_images"] == len(run.items)

    extractor = saeviz.component("extractor", "fake-extractor", plugins=FAKES)
    similarity = extractor.embed_images(run.items) @ extractor.embed_texts(["something blue"])[0]
    expected = {}
    for space in run.spaces:
        dense = run.features(space).matrix.toarray().astype(float)
        for index in np.flatnonzero((dense > 0).sum(axis=0) >= 5):
            expected[f"{space}/{index}"] = np.corrcoef(similarity, dense[:, index])[0, 1]
    best = sorted((one for one in expected if expected[one] > 1e-9), key=expected.__getitem__, reverse=True)[:60]
    assert [one["feature"] for one in found["features"]] == best
    for one in found["features"]:
        assert one["r"] == pytest.approx(expected[one["feature"]], abs=1e-5)
    assert 0 < found["chance"] < 1


def test_the_page_is_told_that_words_can_be_asked_for(client):
    assert client.get("/api/run").json()["has_words"] is True


def test_of_three_colours_each_finds_its_own_feature(client):
    for word, own in zip(("red", "green", "blue"), FEATURES, strict=True):
        found = client.get("/api/words", params={"text": word}).json()
        places = {one["feature"]: place for place, one in enumerate(found["features"])}
        assert all(places[own] <= places.get(other, 99) for other in FEATURES)


def test_the_images_most_like_the_words_come_with_it(client, run):
    found = client.get("/api/words", params={"text": "violet"}).json()
    shown = run.metadata["colour"][found["images"][0]["item"]]
    assert shown == "violet"


@pytest.mark.parametrize("text", ["", "   ", "x" * 301])
def test_there_must_be_words_and_not_too_many(client, text):
    answer = client.get("/api/words", params={"text": text})
    assert answer.status_code == 400
    assert "1 to 300 characters" in answer.json()["error"]


def test_without_a_text_encoder_it_says_so(finished_once, monkeypatch):
    monkeypatch.setattr(saeviz.Run, "component", lambda self, table: object())
    with asking(finished_once) as client:
        answer = client.get("/api/words", params={"text": "red"})
        assert answer.status_code == 422
        assert "the extractor fake-extractor cannot read words" in answer.json()["error"]
        assert client.get("/api/run").json()["has_words"] is False


def test_while_images_are_embedded_a_request_is_told_how_far_it_is(finished_once, monkeypatch):
    monkeypatch.setattr("saeviz.serving.live.background.PATIENCE", 0)
    monkeypatch.setattr(words, "AT_ONCE", 5)
    with asking(finished_once) as client:
        seen = []
        while not (found := client.get("/api/words", params={"text": "red"}).json())["ready"]:
            seen.append(found["n_done"])
            assert found["features"] == []
        assert seen == sorted(seen)
        assert found["features"]


def test_of_many_images_a_sample_is_compared(finished_once, monkeypatch):
    monkeypatch.setattr(words, "MOST_IMAGES", 10)
    with asking(finished_once) as client:
        assert client.get("/api/words", params={"text": "red"}).json()["n_images"] == 10


@pytest.mark.slow
def test_chance_is_exceeded_by_the_best_feature_for_one_in_twenty_meaningless_words():
    generator = np.random.default_rng(0)
    space = saeviz.FeatureSpace(1, "cls", 15)
    features = csr_array((generator.random((40, 30)) * (generator.random((40, 30)) < 0.4)).astype(np.float32))
    vectors = generator.normal(size=(40, 40)).astype(np.float32)
    items = [saeviz.ImageItem(str(one), lambda: None) for one in range(40)]
    named = SimpleNamespace(name=lambda feature: "")
    compared = words.Compared(items, vectors, [(space, features)])
    exceeded = []
    for _ in range(2000):
        similarity = generator.normal(size=40)
        found = words.find(named, compared, np.linalg.solve(vectors.astype(float), similarity))
        exceeded.append(any(one["r"] > found["chance"] for one in found["features"]))
    assert np.mean(exceeded) == pytest.approx(0.05, abs=0.012)


def test_a_feature_that_is_nearly_the_same_on_all_images_has_the_r_of_its_stored_activations():
    generator = np.random.default_rng(0)
    space = saeviz.FeatureSpace(1, "cls", 1)
    dense = (100 + 0.01 * generator.random((200, 1))).astype(np.float32)
    compared = words.Compared([None] * 200, np.zeros((200, 1), np.float32), [(space, csr_array(dense))])
    z = generator.normal(size=200)
    z = (z - z.mean()) / z.std()
    (r,) = compared.correlations(z[:, None])
    assert r[0, 0] == pytest.approx(np.corrcoef(dense[:, 0].astype(float), z)[0, 1], rel=1e-4)


def test_what_fails_in_the_background_is_said_once_and_tried_again():
    tried = []

    async def make(_):
        tried.append(len(tried))
        if len(tried) == 1:
            raise saeviz.DataError("not yet")
        return "made"

    async def ask():
        background = Background(make)
        with pytest.raises(saeviz.DataError, match="not yet"):
            await background.result()
        return [await background.result(), await background.result()]

    assert asyncio.run(ask()) == ["made", "made"]
    assert tried == [0, 1]


def test_a_place_in_an_image_has_the_features_of_its_patch(client, run):
    item = run.items[2]
    found = client.get("/api/patch", params={"item": item.item_id, "x": 0.3, "y": 0.9}).json()
    assert [one["space"] for one in found["spaces"]] == ["layer1.cls", "layer2.cls"]
    extractor = saeviz.component("extractor", "fake-extractor", plugins=FAKES)
    for one, layer in zip(found["spaces"], (1, 2), strict=True):
        spatial = extractor.extract_spatial(item, layer)
        values = spatial.features[3 * 4 + 1]
        assert one["patch"] == [0.25, 0.75, 0.5, 1.0]
        assert one["n_active"] == (values > 0).sum()
        best = [index for index in np.argsort(-values, kind="stable")[:12] if values[index] > 0]
        assert [given["feature"] for given in one["features"]] == [f"layer{layer}.cls/{index}" for index in best]


def test_the_edge_of_an_image_belongs_to_its_last_patch(client):
    found = client.get("/api/patch", params={"item": "picture/1", "x": 1, "y": 1}).json()
    assert found["spaces"][0]["patch"] == [0.75, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("x", ["1.01", "-0.1", "nan", "left", "inf"])
def test_a_place_outside_is_none(client, x):
    answer = client.get("/api/patch", params={"item": "picture/1", "x": x, "y": 0.5})
    assert answer.status_code == 400
    assert "is not a number from 0 to 1" in answer.json()["error"]


def test_what_the_model_does_not_see_has_no_features(client, monkeypatch):
    monkeypatch.setattr(FakeExtractor, "field_of_view", lambda self, image: (16.0, 0.0, 48.0, 48.0))
    found = client.get("/api/patch", params={"item": "picture/1", "x": 0, "y": 0.5}).json()
    assert found["spaces"][0]["missing"] == "the model does not see this part of the picture"
    assert found["spaces"][0]["features"] == []

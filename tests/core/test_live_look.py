"""An image of one's own: it gets the features, predictions and neighbours that an image of the run with it has."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Event

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import saeviz
from saeviz.serving.guard import Guard
from saeviz.serving.live import look
from saeviz.serving.live.predicted import Predictions
from saeviz.values import images
from tests.live import FAKES, picture_of
from tests.waiting import PATIENCE


def file_of(item):
    buffer = BytesIO()
    item.open().save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_of_the_run_has_the_features_it_has_there(client, run):
    item = run.items[5]
    found = client.post("/api/look", content=file_of(item)).json()

    assert found["size"] == list(item.open().size)
    assert [one["space"] for one in found["spaces"]] == [str(space) for space in run.spaces]
    for of_space, space in zip(found["spaces"], run.spaces, strict=True):
        batch = run.features(space)
        values = batch.matrix.toarray()
        row = values[batch.item_ids.index(item.item_id)]
        assert of_space["n_active"] == (row > 0).sum()
        best = np.argsort(-row, kind="stable")[:12]
        best = best[row[best] > 0]
        assert [one["feature"] for one in of_space["features"]] == [f"{space}/{index}" for index in best]
        np.testing.assert_allclose([one["value"] for one in of_space["features"]], row[best], rtol=1e-5)
        np.testing.assert_allclose([one["largest"] for one in of_space["features"]], values.max(axis=0)[best])


def test_each_feature_has_its_name_and_a_map(client, run):
    features = client.post("/api/look", content=picture_of("blue")).json()["spaces"][0]["features"]
    labels = {str(feature): label.label for feature, label in run.labels.items()}
    assert features
    for one in features:
        assert one["label"] == labels.get(one["feature"], "")
        assert one["map"]["columns"] == 4
        assert one["map"]["box"] == [0, 0, 1, 1]


def test_the_nearest_image_of_one_of_the_run_is_itself(client, run):
    found = client.post("/api/look", content=file_of(run.items[3])).json()
    assert found["nearest_by"] == "the run's embedding model"
    assert found["nearest"][0]["similarity"] == pytest.approx(1, abs=1e-4)
    alike = {one["item"] for one in found["nearest"] if one["similarity"] > 1 - 1e-4}
    assert run.items[3].item_id in alike


def test_without_an_embedding_model_they_are_by_features(run):
    rows = {space: run.features(space).matrix[[2]] for space in run.spaces}
    found = look.by_features(run, rows)
    assert found["nearest_by"] == f"the features of {run.spaces[-1]}"
    dense = run.features(run.spaces[-1]).matrix.toarray().astype(float)
    cosines = dense @ dense[2] / np.maximum(np.linalg.norm(dense, axis=1) * np.linalg.norm(dense[2]), 1e-12)
    best = np.argsort(-cosines, kind="stable")[:12]
    np.testing.assert_allclose([one["similarity"] for one in found["nearest"]], cosines[best], rtol=1e-5)
    assert run.items[2].item_id in {one["item"] for one in found["nearest"][:2]}


def test_a_run_without_models_of_its_ratings_says_so(client):
    found = client.post("/api/look", content=picture_of("red")).json()
    assert found["ratings"] == []
    assert "add the scorer prediction" in found["ratings_missing"]


def test_the_bytes_of_an_upload_are_bounded(client, monkeypatch):
    monkeypatch.setattr(look, "MOST_BYTES", 1000)
    answer = client.post("/api/look", content=b"x" * 1001)
    assert answer.status_code == 413
    assert "at most 1,000 bytes" in answer.json()["error"]


def test_the_pixels_of_an_upload_are_bounded_before_it_is_decoded(client, monkeypatch):
    monkeypatch.setattr(look, "MOST_PIXELS", 1000)
    monkeypatch.setattr(look, "open_picture", None)
    answer = client.post("/api/look", content=picture_of("red", (100, 11)))
    assert answer.status_code == 422
    assert "100 x 11 pixels" in answer.json()["error"]


def test_a_picture_beyond_the_limit_of_pillow_is_refused_with_what_to_do(client, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    answer = client.post("/api/look", content=picture_of("red", (100, 11)))
    assert answer.status_code == 422
    assert "it has more than 1,000 pixels" in answer.json()["error"]
    assert "make it smaller" in answer.json()["error"]


def test_a_picture_much_larger_than_a_model_sees_is_reduced_before_it_is_looked_at(client, run, monkeypatch):
    """Each look at it, for features and for maps, would take longer than the model."""
    monkeypatch.setattr(look, "SHORTER_SIDE", 20)
    seen = []
    drawn = images.drawn
    monkeypatch.setattr(images, "drawn", lambda draw: seen.append(drawn(draw).size) or drawn(draw))
    item = run.items[5]
    buffer = BytesIO()
    item.open().resize((131, 100)).save(buffer, "PNG")
    found = client.post("/api/look", content=buffer.getvalue()).json()
    assert found["size"] == [131, 100]
    assert set(seen) == {(27, 20)}
    small = client.post("/api/look", content=file_of(item)).json()
    for one, other in zip(found["spaces"], small["spaces"], strict=True):
        assert one["features"][0]["feature"] == other["features"][0]["feature"]


def test_the_model_is_free_while_a_picture_is_decoded(client, run, monkeypatch):
    decoding, go_on = Event(), Event()

    def slowly(data):
        decoding.set()
        assert go_on.wait(PATIENCE)
        return picture_in(data)

    picture_in = look.picture_in
    monkeypatch.setattr(look, "picture_in", slowly)
    with ThreadPoolExecutor(1) as pool:
        looked = pool.submit(client.post, "/api/look", content=picture_of("red"))
        assert decoding.wait(PATIENCE)
        asked = {"feature": "layer1.cls/0", "item": run.items[0].item_id}
        assert client.get("/api/heatmap", params=asked).status_code == 200
        go_on.set()
        assert looked.result().status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "send an image file"),
        (b"%!PS-Adobe-3.0\n(evil) run", 422, "not in a supported image format"),
        (picture_of("red")[:60], 422, "cannot be read"),
    ],
    ids=["nothing", "PostScript", "half a picture"],
)
def test_what_is_no_picture_is_refused_in_one_sentence(client, body, status, said):
    answer = client.post("/api/look", content=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost"}, 200),
    ],
)
def test_only_pages_of_the_service_may_have_an_image_looked_at(client, headers, status):
    guarded = TestClient(Guard(client.app, None, pages=True), base_url="http://localhost")
    assert guarded.post("/api/look", content=picture_of("red"), headers=headers).status_code == status


def test_a_look_writes_nothing(finished_once, client):
    def files():
        return {path: path.stat().st_mtime_ns for path in finished_once.rglob("*")}

    before = files()
    assert client.post("/api/look", content=picture_of("green", kind="JPEG")).status_code == 200
    assert files() == before
    assert client.post("/api/look", content=picture_of("green")).headers["cache-control"] == "no-store"


def test_uploads_upright_a_turned_photograph(client):
    upright = Image.new("RGB", (40, 20), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    upright.save(buffer, "JPEG", exif=exif)
    assert client.post("/api/look", content=buffer.getvalue()).json()["size"] == [20, 40]


@pytest.fixture(scope="module")
def predicting(finished_once, tmp_path_factory):
    """The same images and features with models of their ratings."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("predicted")
    shutil.copytree(finished_once, folder / "run")
    settings = {
        "run": {"dir": str(folder / "run")},
        "images": {"use": "fake-images", "n": 24},
        "extractor": {"use": "fake-extractor"},
        "store": {"use": "npz"},
        "embeddings": {"use": "none"},
        "scorers": [{"use": "pearson-bh"}, {"use": "prediction", "raw_model": False}],
        "plugins": {"use": FAKES},
    }
    saeviz.run(settings)
    return saeviz.open_run(folder / "run", plugins=FAKES)


def test_ratings_are_intercept_and_weights_times_activations(predicting):
    rows = {space: predicting.features(space).matrix[[7]] for space in predicting.spaces}
    found = Predictions(predicting).of(rows)
    assert [one["rating"] for one in found] == ["warmth", "noise"]
    for one in found:
        table = predicting.correlations[predicting.correlations["rating"] == one["rating"]]
        total = predicting.facts["prediction_intercepts"][one["rating"]]
        adds = {}
        for space, row in rows.items():
            own = saeviz.rows_in(table, space)
            weights = dict(zip(own["feature"], own["ridge_weight"], strict=True))
            for index, value in zip(row.indices, row.data, strict=True):
                adds[f"{space}/{index}"] = weights[index] * value
        assert one["value"] == pytest.approx(total + sum(adds.values()))
        largest = sorted(adds, key=lambda feature: -abs(adds[feature]))[:6]
        assert {given["feature"] for given in one["adding"]} == set(largest)
        assert all(given["adds"] == pytest.approx(adds[given["feature"]]) for given in one["adding"])


def test_a_prediction_says_how_good_it_is(predicting):
    rows = {space: predicting.features(space).matrix[[7]] for space in predicting.spaces}
    for one in Predictions(predicting).of(rows):
        entries = predicting.facts["prediction"][one["rating"]]
        (r2,) = [entry["r2"] for entry in entries if (entry["method"], entry["space"]) == ("ridge", "all")]
        assert one["r2"] == r2
        predicted = predicting.images_table[f"predicted.{one['rating']}"]
        assert one["below"] == pytest.approx((predicted < one["value"]).mean())
        assert not one["binary"]


def test_of_a_binary_rating_the_chance_is_predicted_and_what_features_add_is_in_log_odds(predicting, monkeypatch):
    """As if one of the ratings had been of 0 and 1: only then its figures have an area under the curve."""
    name = predicting.ratings[0]
    entries = [{**entry, "auc": 0.8, "auc_sd": 0.1} for entry in predicting.facts["prediction"][name]]
    facts = {**predicting.facts, "prediction": {**predicting.facts["prediction"], name: entries}}
    rows = {space: predicting.features(space).matrix[[7]] for space in predicting.spaces}
    before = Predictions(predicting).of(rows)
    monkeypatch.setattr(saeviz.Run, "facts", facts)
    after = Predictions(predicting).of(rows)
    assert [one["binary"] for one in after] == [True, False]
    assert after[0]["value"] == pytest.approx(1 / (1 + np.exp(-before[0]["value"])))
    assert after[0]["adding"] == before[0]["adding"]
    assert after[1] == before[1]
    below = predicting.images_table[f"predicted.{name}"] < after[0]["value"]
    assert after[0]["below"] == pytest.approx(below.mean())

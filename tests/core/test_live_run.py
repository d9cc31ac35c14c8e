"""`saeviz serve RUN` in the browser and to notebooks: the page, features, images, heatmaps, over real HTTP."""

from __future__ import annotations

import re
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.waiting import PATIENCE

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http.md"
ORIGIN = "only pages of this service may ask this"


@pytest.fixture(scope="module")
def run(finished_copy):
    """A finished run that has no report."""
    return finished_copy


@pytest.fixture(scope="module")
def client(served):
    with httpx.Client(base_url=served.url, trust_env=False, timeout=PATIENCE) as client:
        yield client


def unpacked(array):
    return np.frombuffer(b64decode(array["data"]), f"<{array['kind']}")


def test_the_page_is_there_and_may_ask_only_its_host(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "connect-src 'self'" in page.text, "both policies of a page count"
    assert "unsafe" not in policy + page.text
    assert "http" not in policy


def test_what_is_served(client, run):
    about = client.get("/api/run").json()
    assert about["name"] == "fake"
    assert about["n_images"] == 24
    assert about["ratings"] == run.ratings
    assert [space["name"] for space in about["spaces"]] == [str(space) for space in run.spaces]
    assert about["missing"] == {}
    columns = client.get("/api/columns").json()
    assert {table: set(known) for table, known in columns.items()} == {
        name: set(one) for name, one in run.columns.items()
    }
    assert columns["scores"]["n_active"]["unit"] == "images"
    assert columns["selected"]["tier"]["better"] == "lower"


def test_every_feature_has_its_images_most_active_first(client, run):
    space = run.spaces[0]
    for index in (0, 7, space.n_features - 1):
        feature = f"{space}/{index}"
        answer = client.get("/api/feature", params={"feature": feature}).json()
        items, values = unpacked(answer["items"]), unpacked(answer["values"])
        activations = run.activations(feature)
        assert sorted(items.tolist()) == np.flatnonzero(activations).tolist()
        assert np.all(np.diff(values) <= 0)
        np.testing.assert_allclose(activations[items], values, rtol=1e-6)
        assert [one["item"] for one in answer["top"]] == [run.items[place].item_id for place in items[:24]]


def test_the_example_of_the_docs(served, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 32), "red").save("photo.jpg")
    [code] = [one for one in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "/api/" in one]
    names = {}
    feature = f"{run.spaces[0]}/7"
    exec(code.replace("http://127.0.0.1:8765", served.url).replace("layer11.cls/4711", feature), names)
    activations = run.activations(feature)
    np.testing.assert_allclose(names["values"], activations[names["items"]], 1e-6)
    assert len(names["items"]) == np.count_nonzero(activations)


def test_an_image_has_its_features_most_active_first(client, run):
    item = run.items[3]
    answer = client.get("/api/image", params={"item": item.item_id}).json()
    rows, values = unpacked(answer["features"]), unpacked(answer["values"])
    together = np.concatenate([run.features(space).matrix.toarray()[3] for space in run.spaces])
    assert sorted(rows.tolist()) == np.flatnonzero(together).tolist()
    np.testing.assert_allclose(together[rows], values, rtol=1e-6)
    assert np.all(np.diff(values) <= 0)


def test_an_image_has_those_most_like_it(client, run):
    near = client.get("/api/image", params={"item": run.items[3].item_id}).json()["nearest"]
    units = run.embeddings / np.linalg.norm(run.embeddings, axis=1, keepdims=True)
    alike = sorted(np.delete(units @ units[3], 3))[::-1]
    assert [one["item"] for one in near] == [run.items[one["place"]].item_id for one in near]
    np.testing.assert_allclose([one["cosine"] for one in near], alike[:12], 1e-5)


@pytest.mark.parametrize("size", [16, 32])
def test_a_picture_is_made_small(client, run, size):
    answer = client.get("/api/picture", params={"item": run.items[0].item_id, "size": size})
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(BytesIO(answer.content)).height <= size


def test_where_a_feature_fires_is_asked_of_the_model(client, run):
    item = run.items[0].item_id
    feature = next(one for one in map(f"{run.spaces[0]}/{{}}".format, range(50)) if run.heatmap(one, item).max() > 0)
    answer = client.get("/api/heatmap", params={"feature": feature, "item": item}).json()
    values = run.heatmap(feature, item)
    assert answer["columns"] == values.shape[1]
    assert answer["largest"] == pytest.approx(values.max())
    np.testing.assert_allclose(unpacked(answer["values"]), np.round(values.ravel() / values.max() * 255))


HOSTILE = ["", "../../etc/passwd", "/etc/passwd", "run.json", "a" * 9000, "<script>", "\u202e", "layer11.cls/4", "\0"]


@pytest.mark.parametrize("path", ["/api/image", "/api/picture"])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_an_id_is_looked_up_and_nothing_else(client, path, text):
    answer = client.get(path, params={"item": text})
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("this run has no image ")


@pytest.mark.parametrize(
    ("feature", "status"),
    [
        *((text, 404 if text == "layer11.cls/4000000" else 400) for text in ["", "layer11", "../x/1", "a\nb/1"]),
        ("layer11.cls/4000000", 404),
        ("layer11.cls/99999999999999999999", 400),
        ("layer3.patch-max/1", 404),
    ],
)
def test_a_feature_that_the_run_does_not_have(client, feature, status):
    answer = client.get("/api/feature", params={"feature": feature})
    assert answer.status_code == status, answer.text
    assert "feature" in answer.json()["error"]


@pytest.mark.parametrize("size", ["0", "100000", "-1", "x", "1e3", "٣٢", "9" * 99])
def test_a_size_is_a_whole_number_within_bounds(client, run, size):
    answer = client.get("/api/picture", params={"item": run.items[0].item_id, "size": size})
    assert answer.status_code == 400
    assert "whole number from 16 to 1600" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/run.json", "/../run.json", "/%2e%2e/run.json", "//etc/passwd", "/api/no"])
def test_a_path_opens_nothing(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "there is nothing here"}


def test_only_this_machine_by_its_own_names(served):
    assert httpx.get(served.url, headers={"Host": "evil.example"}, trust_env=False, timeout=PATIENCE).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
    ],
)
def test_a_page_of_another_origin_reads_nothing(client, headers, status):
    answer = client.get("/api/run", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert ORIGIN in answer.json()["error"]
    else:
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_what_may_change_something_has_to_come_from_a_page_of_the_service(client, served, method):
    own = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
    port = served.port + 1
    for headers in (
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{port}"},
        {**own, "Sec-Fetch-Site": "same-site"},
        {**own, "Sec-Fetch-Site": "none"},
    ):
        answer = client.request(method, "/api/run", headers=headers)
        assert answer.status_code == 403, headers
        assert ORIGIN in answer.json()["error"]
    assert client.request(method, "/api/run", headers=own).status_code == 405


def test_many_at_once(client, run):
    space = run.spaces[0]
    paths = [f"/api/feature?feature={space}/{index % space.n_features}" for index in range(40)]
    paths += [f"/api/picture?item={run.items[0].item_id}&size=20"] * 10
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(client.get, paths)} == {200}

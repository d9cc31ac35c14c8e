"""Two runs served side by side: their comparison, both viewers, and from a feature to its partner and back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

import saeviz
from saeviz.formats.rundir import RunDir
from saeviz.pipeline.reading import Grants
from saeviz.serving.limits import Limited
from saeviz.serving.live.opened import Live
from saeviz.serving.live.pair import make_pair_app
from tests.conftest import FAKES
from tests.waiting import wait_until

HOSTILE = "<script>window.broken=1</script>"


def made(folder, layers=(1, 2), **more):
    return saeviz.run(
        {
            "run": {"dir": str(folder)},
            "images": {"use": "fake-images", "n": 80, **more},
            "extractor": {"use": "fake-extractor", "layers": list(layers)},
            "scorers": [{"use": "pearson-bh"}],
            "labeler": {"use": "fake-labeler"},
            "reporters": [],
        },
        plugins=[FAKES],
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    return made(folder / f"one {HOSTILE.replace('/', '')}"), made(folder / "other", seed=1)


def serving(one, other) -> Iterator[TestClient]:
    lives = [Live(RunDir.open(run.dir), Grants([FAKES])) for run in (one, other)]
    with TestClient(Limited(make_pair_app(*lives)), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def client(runs):
    yield from serving(*runs)


def partner(client, viewer, feature):
    def asked():
        return client.get(f"{viewer}/api/partner", params={"feature": str(feature)}).json()["other"]

    wait_until(lambda: asked()["state"] != "comparing")
    return asked()


def test_at_the_root_is_the_comparison_with_ways_into_both_runs(client, runs):
    wait_until(lambda: "comparison.css" in client.get("/").text)
    page = client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in page.text + page.headers["content-security-policy"]
    assert "<style" not in page.text, "the policy would not let it work"
    assert client.get("/comparison.css").headers["content-type"].startswith("text/css")
    assert "<script" not in page.text
    assert 'href="a/"' in page.text
    assert 'href="b/"' in page.text
    features = set(re.findall(r'href="a/#feature=([^"]+)"', page.text))
    assert features
    known = {str(space.feature(index)) for space in runs[0].spaces for index in range(space.n_features)}
    assert features <= known


def test_each_run_is_served_whole_below_it(client, runs):
    for viewer, run, other in (("/a", *runs), ("/b", *runs[::-1])):
        assert client.get(viewer).url.path == f"{viewer}/"
        page = client.get(f"{viewer}/").text
        script = re.search(r'src="([^"]+core\.js)"', page)[1]
        assert client.get(f"{viewer}/{script}").status_code == 200
        about = client.get(f"{viewer}/api/run").json()
        assert (about["name"], about["other"]) == (run.dir.name, other.dir.name)
    feature = str(runs[1].selected[0].feature)
    note = {"feature": feature, "was": "", "mark": "done"}
    assert client.put("/b/api/notes", json=note).status_code == 200
    assert client.get("/a/api/notes").json()["notes"] == {}


def test_of_the_same_saes_a_feature_is_its_own_partner(client, runs):
    feature = runs[0].selected[0].feature
    found = partner(client, "/a", feature)
    assert found["viewer"] == "../b/"
    assert found["partner"] == {"feature": str(feature), "label": runs[1].name(feature), "r": None, "mutual": True}


@pytest.mark.slow
def test_on_the_same_images_partners_lead_there_and_back(runs, tmp_path):
    one, other = runs[0], made(tmp_path / "more", layers=[7])
    table = saeviz.compare(one, other).tables["partners_b"]
    row = next(row for row in table.to_dict("records") if row["mutual"] == 1)
    feature = saeviz.feature_of(row)
    for client in serving(one, other):
        there = partner(client, "/b", feature)["partner"]
        assert (there["feature"], there["mutual"]) == (row["partner"], True)
        assert there["r"] == pytest.approx(row["r"])
        assert partner(client, "/a", there["feature"])["partner"]["feature"] == str(feature)


@pytest.mark.slow
def test_runs_that_cannot_be_compared_are_served_and_say_so(runs, tmp_path):
    other = saeviz.run(
        {
            "run": {"dir": str(tmp_path / "few")},
            "images": {"use": "fake-images", "n": 12, "seed": 3},
            "extractor": {"use": "fake-extractor", "layers": [7]},
            "scorers": [{"use": "pearson-bh"}],
            "reporters": [],
        },
        plugins=[FAKES],
    )
    for client in serving(runs[0], other):
        found = partner(client, "/b", other.spaces[0].feature(0))
        assert (found["state"], found["partner"]) == ("failed", None)
        page = client.get("/").text
        assert "cannot be compared" in page
        assert "<script" not in page
        assert client.get("/b/api/run").status_code == 200

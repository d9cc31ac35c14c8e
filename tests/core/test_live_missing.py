"""A served run of which parts are not there: what is left works, and the rest is said in a sentence."""

from __future__ import annotations

import json
import shutil

import httpx
import pytest

from saeviz.formats.rundir import RunDir
from saeviz.pipeline.reading import Grants
from saeviz.serving.live.opened import Live
from saeviz.values.errors import SaevizError
from tests.conftest import FAKES
from tests.service import Served
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def run(finished_copy):
    return finished_copy


@pytest.fixture(scope="module")
def client(run):
    """Served without the plugin of the images, the extractor and the embeddings, and then the store goes, too."""
    served = Served(run.dir, token=None)
    shutil.rmtree(run.dir / "features")
    with httpx.Client(base_url=served.url, trust_env=False, timeout=PATIENCE) as client:
        yield client
    assert "Traceback" not in served.stop()


def test_it_is_said_what_is_missing(client, run):
    about = client.get("/api/run").json()
    assert about["n_images"] == 24
    assert about["ratings"] == run.ratings
    assert "no plugin offers the images 'fake-images'" in about["missing"]["pictures"]
    assert "no plugin offers the extractor 'fake-extractor'" in about["missing"]["model"]


def test_the_page_features_and_images_are_there(client, run):
    assert client.get("/").status_code == 200
    assert client.get("/api/image", params={"item": next(iter(run.fingerprints))}).json()["features"]["data"]
    top = client.get("/api/feature", params={"feature": f"{run.spaces[0]}/7"}).json()["top"]
    ids = run.fingerprints.keys()
    assert top
    assert all(one["item"] in ids for one in top)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/api/picture", "no plugin offers the images"),
        ("/api/heatmap", "no plugin offers the extractor"),
    ],
)
def test_what_needs_them_says_so(client, run, path, word):
    query = {"item": next(iter(run.fingerprints)), "feature": f"{run.spaces[0]}/7"}
    query = query if path == "/api/heatmap" else {"item": query["item"]}
    answer = client.get(path, params=query)
    assert answer.status_code in (422, 500)
    assert word in answer.json()["error"], answer.text


@pytest.mark.slow
@pytest.mark.parametrize("reporters", [7, "html", [7], [{"use": "html", "title": 7}], [{"use": "html", "no": 1}]])
def test_options_of_the_page_that_are_not_valid_do_not_keep_it_from_being_served(finished_run, reporters):
    directory = finished_run.parent / "runs" / "fake"
    manifest = json.loads((directory / "run.json").read_text())
    manifest["config"]["reporters"] = reporters
    (directory / "run.json").write_text(json.dumps(manifest))
    live = Live(RunDir.open(directory), Grants(plugins=[FAKES]))
    live.prepare()
    assert live.page.is_file()
    assert len(live.places) == 24
    live.close()
    assert not live.page.exists()


@pytest.fixture
def stored(finished_run):
    """A finished run with its store beside its other files."""
    return finished_run.parent / "runs" / "fake"


def prepared(directory):
    live = Live(RunDir.open(directory), Grants(plugins=[FAKES]))
    try:
        live.prepare()
    except BaseException:
        live.close()
        raise
    return live


def tops(live):
    return [
        [array.tolist() for array in live.by_feature.images_of(str(live.run.spaces[0]), index)] for index in range(20)
    ]


@pytest.mark.slow
def test_a_run_whose_store_is_gone_is_served_from_the_copy_that_was_made_before(stored, caplog, monkeypatch):
    monkeypatch.setenv("SAEVIZ_RUN__CACHE", "true")
    monkeypatch.setenv("HOME", str(stored.parent / "home"))
    first = prepared(stored)
    there = tops(first)
    first.close()
    assert any(places for places, _ in there)
    shutil.rmtree(stored / "features")
    caplog.clear()
    again = prepared(stored)
    assert tops(again) == there
    assert len(again.run.items) == 24
    assert "ordering" not in caplog.text
    again.close()


@pytest.mark.slow
def test_a_run_whose_store_is_gone_is_not_served_as_one_without_images(stored):
    shutil.rmtree(stored / "features")
    with pytest.raises(SaevizError, match="the store has no item"):
        prepared(stored)


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_does_not_keep_a_run_from_being_served(stored, monkeypatch, caplog):
    monkeypatch.setenv("SAEVIZ_RUN__CACHE", "true")
    home = stored.parent / "home"
    home.mkdir()
    (home / ".cache").write_text("a file is in the way")
    monkeypatch.setenv("HOME", str(home))
    live = prepared(stored)
    assert any(places for places, _ in tops(live))
    assert "features are ordered in a temporary folder instead: " in caplog.text
    live.close()

"""A served run of which parts are not there: what is left works, and the rest is said in a sentence."""

from __future__ import annotations

import json
import shutil

import httpx
import pytest

from saeviz.formats.rundir import RunDir
from saeviz.pipeline.reading import Grants
from saeviz.serving.live.opened import Live
from tests.conftest import FAKES
from tests.service import Served


@pytest.fixture(scope="module")
def run(finished_copy):
    return finished_copy


@pytest.fixture(scope="module")
def client(run):
    """Served without the plugin of the images, the extractor and the embeddings, and then the store goes, too."""
    served = Served(run.dir, token=None)
    shutil.rmtree(run.dir / "features")
    with httpx.Client(base_url=served.url, trust_env=False, timeout=60) as client:
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

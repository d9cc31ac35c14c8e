"""A served run with several extractors: each answers for its own spaces, and is named where it cannot, or fails."""

from __future__ import annotations

import pytest

import saeviz
from saeviz.pipeline.run import Plan
from tests.live import FAKES, asking, picture_of

PLUGIN = """
from saeviz.testing.fakes import FakeExtractor, FakeExtractorOptions
import saeviz

class Plain:
    def __init__(self, options, context):
        self.fake = FakeExtractor(options, context)
        self.spaces, self.extract = self.fake.spaces, self.fake.extract

class Failing(FakeExtractor):
    def extract(self, items):
        items = list(items)
        if any(item.item_id == "your image" for item in items):
            raise ZeroDivisionError("no pixels")
        return super().extract(items)

    def extract_spatial(self, image, layer=None):
        raise ZeroDivisionError("no patches")

    def heatmaps(self, images, layer, features, fine=False):
        raise ZeroDivisionError("no patches")

@saeviz.hookimpl
def saeviz_feature_extractors():
    for made in (Plain, Failing):
        yield saeviz.FeatureExtractorSpec(
            name=made.__name__.lower(), summary="for a test", options=FakeExtractorOptions, factory=made)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A function that serves a run of two extractors."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "mine.py").write_text(PLUGIN)
    plugins = [*FAKES, str(folder / "mine.py")]

    def serve(first, second):
        names = {"text": first, "text-mlp": second}
        settings = {
            "run": {"dir": str(folder / f"{first}-{second}"), "top_images": 2},
            "images": {"use": "fake-images", "n": 12},
            "extractors": [{"name": name, "use": use, "layers": [1]} for name, use in names.items()],
            "store": {"use": "npz"},
            "embeddings": {"use": "none"},
            "scorers": [{"use": "pearson-bh"}],
        }
        return asking(saeviz.run(settings, plugins=plugins, plan=Plan(last="select")).dir, plugins)

    return serve


def test_one_that_cannot_look_at_patches_is_named_and_the_other_answers(served):
    with served("fake-extractor", "plain") as client:
        able, plain = client.get("/api/patch", params={"item": "picture/1", "x": 0.5, "y": 0.5}).json()["spaces"]
        assert (able["space"], able["missing"]) == ("text.layer1.cls", "")
        assert able["n_active"]
        assert plain["missing"] == "extractors.1: plain cannot look at single patches"
        of = {one["space"]: one for one in client.post("/api/look", content=picture_of("red")).json()["spaces"]}
        assert all(one["map"] for one in of["text.layer1.cls"]["features"])
        assert of["text-mlp.layer1.cls"]["n_active"]
        assert of["text-mlp.layer1.cls"]["maps_missing"] == "extractors.1: plain makes no heatmaps"


def test_one_that_fails_is_blamed_and_not_the_first(served):
    with served("plain", "failing") as client:
        for answer in (
            client.post("/api/look", content=picture_of("red")),
            client.get("/api/patch", params={"item": "picture/1", "x": 0.5, "y": 0.5}),
            client.get("/api/heatmap", params={"feature": "text-mlp.layer1.cls/1", "item": "picture/1"}),
        ):
            assert answer.json()["error"].startswith("extractors.1: failing fails with ZeroDivisionError: no p")


def test_what_none_of_them_can_do_is_said_of_all(served):
    with served("plain", "plain") as client:
        answer = client.get("/api/words", params={"text": "red"}).json()["error"]
        assert answer == "the extractors text and text-mlp cannot read words: there is no text encoder"
        heatmap = client.get("/api/heatmap", params={"feature": "text.layer1.cls/1", "item": "picture/1"}).json()
        assert heatmap["error"] == "the extractors text and text-mlp cannot look at single images"

"""`saeviz heatmap` and the heatmaps of an open run, on an extractor that needs no model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saeviz
from saeviz import ExitCode
from saeviz.pipeline.run import Plan
from tests.conftest import FAKES, WITHOUT_MODELS

RED = "layer1.cls/0"
LEGEND = 28


@pytest.fixture(autouse=True)
def _plugins(monkeypatch):
    """A run that is read has the plugins of its reader."""
    monkeypatch.setenv("SAEVIZ_PLUGINS", FAKES)


@pytest.fixture
def run(finished_run) -> saeviz.Run:
    return saeviz.open_run(finished_run.parent / "runs" / "fake", plugins=[FAKES])


def test_writes_a_picture_and_says_where(saeviz_command, run):
    ended = saeviz_command("heatmap", RED, "picture/3")
    assert ended.code == ExitCode.DONE, ended
    assert ended.out == "heatmap.png\n"
    with Image.open("heatmap.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (512, 512 + LEGEND)), "32 x 32 is shown larger"


@pytest.mark.slow
def test_the_picture_is_that_of_the_run(saeviz_command, run):
    for flags, choices in [
        ([], {}),
        (["--smooth"], {"smooth": True}),
        (["--nearest"], {"smooth": False}),
        (["--nearest", "--fine"], {"smooth": False, "fine": True}),
    ]:
        ended = saeviz_command(
            "heatmap", RED, "picture/3", "--run", run.dir, "--out", "maps/red 3.PNG", "--force", *flags
        )
        assert ended.out == "maps/red 3.PNG\n", ended
        expected = run.heatmap_image(RED, "picture/3", **choices)
        np.testing.assert_array_equal(np.asarray(Image.open("maps/red 3.PNG")), np.asarray(expected))
    assert np.asarray(expected).std() > 0


def test_json_has_the_numbers_and_no_picture(saeviz_command, run):
    ended = saeviz_command("heatmap", RED, "picture/3", "--json")
    found = ended.json()
    np.testing.assert_allclose(found.pop("values"), run.heatmap(RED, "picture/3"), rtol=1e-6)
    assert found == {
        "run": str(Path("runs/fake").resolve()),
        "feature": RED,
        "item_id": "picture/3",
        "field_of_view": [0, 0, 32, 32],
        "fine": False,
    }
    assert not Path("heatmap.png").exists()
    assert len(saeviz_command("heatmap", RED, "picture/3", "--json", "--fine").json()["values"]) == 12


def test_a_picture_is_not_overwritten_unless_asked_for(saeviz_command, run):
    Path("heatmap.png").write_text("mine")
    refused = saeviz_command("heatmap", RED, "picture/3")
    assert refused.code == ExitCode.USAGE
    assert "heatmap.png already exists; choose another name with --out, or overwrite it with --force" in refused.err
    assert Path("heatmap.png").read_text() == "mine"
    assert saeviz_command("heatmap", RED, "picture/3", "--json").code == ExitCode.DONE
    assert saeviz_command("heatmap", RED, "picture/3", "--force").out == "heatmap.png\n"


def test_says_what_the_map_of_a_class_token_feature_means(saeviz_command, fake_run):
    ended = saeviz_command("run", fake_run, "--set", 'extractor.tokens=["cls", "patch-max"]', "--until", "extract")
    assert ended.code == ExitCode.DONE, ended
    assert "fires on patches" in saeviz_command("heatmap", RED, "picture/3").err
    assert saeviz_command("heatmap", "layer1.patch-max/0", "picture/3", "--out", "patch.png").err == ""


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ([RED, "nobody"], "this run has no image 'nobody'", ExitCode.FAILED),
        (["layer1.cls/99", "picture/3"], "layer1.cls has 32 features, so layer1.cls/99 does not exist", ExitCode.USAGE),
        (["layer9.cls/0", "picture/3"], "this run has no space 'layer9.cls'", ExitCode.USAGE),
        (["red", "picture/3"], "'red' is not a feature; an example is 'layer11.cls/4711'", ExitCode.FAILED),
        ([RED, "picture/3", "--out", "map.jpg"], "map.jpg must end in .png", ExitCode.USAGE),
        ([RED, "picture/3", "--json", "--out", "map.png"], "use only one of them", ExitCode.USAGE),
        ([RED, "picture/3", "--out", "fake.toml/map.png"], "fake.toml", ExitCode.FAILED),
        ([RED, "picture/3", "--run", "elsewhere"], "elsewhere is not a run directory", ExitCode.USAGE),
        ([RED], "Missing argument 'ITEM'", ExitCode.USAGE),
    ],
)
def test_a_mistake_gets_a_sentence_and_its_exit_code(saeviz_command, run, arguments, message, code):
    ended = saeviz_command("heatmap", *arguments)
    assert message in ended.err, ended
    assert ended.code == code
    assert ended.out == ""
    assert list(Path().glob("*.png")) == []


def test_no_run_anywhere(saeviz_command):
    ended = saeviz_command("heatmap", RED, "picture/3")
    assert "no run found in" in ended.err
    assert ended.code == ExitCode.USAGE


def test_a_picture_that_cannot_be_read(saeviz_command, fake_run):
    saeviz_command("run", fake_run, "--set", "images.broken=1", "--until", "extract")
    ended = saeviz_command("heatmap", RED, "picture/23")
    assert "image 'picture/23' cannot be read" in ended.err
    assert ended.code == ExitCode.FAILED


def test_the_map_lies_on_the_rectangle(run):
    """Red on grey, four patches a side; the fake's picture 0 to 23 have one rectangle each."""
    red = next(item for item in run.items if item.metadata["colour"] == "red")
    heat = run.heatmap(RED, red.item_id)
    pixels = np.asarray(red.open().convert("RGB"), float)
    redness = (pixels[..., 0] - pixels[..., 2]).reshape(4, 8, 4, 8).mean((1, 3))
    assert (heat[redness == 0] == 0).all()
    assert heat.argmax() == redness.argmax()
    fine = run.heatmap(RED, red.item_id, fine=True)
    np.testing.assert_array_equal(fine[1::3, 1::3], heat)


LESSER = """
import saeviz
from saeviz.testing.fakes import FakeExtractor, FakeExtractorOptions

class Silent:
    def __init__(self, options, context):
        self.fake = FakeExtractor(options, context)
        self.spaces, self.extract = self.fake.spaces, self.fake.extract

class Patches(Silent):
    def extract_from_image(self, image, layer=None, top_k=20):
        return self.fake.extract_from_image(image, layer, top_k)

    def extract_spatial(self, image, layer=None):
        return self.fake.extract_spatial(image, layer)

@saeviz.hookimpl
def saeviz_feature_extractors():
    for made in (Silent, Patches):
        yield saeviz.FeatureExtractorSpec(
            name=made.__name__.lower(), summary="does less", options=FakeExtractorOptions, factory=made)
"""
"""Extractors written before heatmaps were a capability, and without any look at single images."""


@pytest.fixture
def lesser(fake_run):
    """A run with one of these extractors, by name."""
    (fake_run.parent / "lesser.py").write_text(LESSER)

    def run_with(name: str) -> saeviz.Run:
        plugins, use = [FAKES, str(fake_run.parent / "lesser.py")], [f'extractor.use="{name}"']
        made = saeviz.run(fake_run, settings=use, plugins=plugins, plan=Plan(last="extract"))
        return saeviz.open_run(made.dir, plugins=plugins)

    return run_with


def test_an_extractor_with_maps_of_patches_only(run, lesser):
    expected = run.heatmap(RED, "picture/3")
    other = lesser("patches")
    np.testing.assert_array_equal(other.heatmap(RED, "picture/3"), expected)
    with pytest.raises(saeviz.DataError, match="the extractor patches cannot make fine heatmaps"):
        other.heatmap(RED, "picture/3", fine=True)
    with pytest.raises(saeviz.DataError, match="the extractor patches cannot say which part"):
        other.heatmap_image(RED, "picture/3")


def test_an_extractor_without_a_look_at_single_images(lesser):
    with pytest.raises(saeviz.DataError, match="the extractor silent cannot look at single images"):
        lesser("silent").heatmap(RED, "picture/3")


def test_a_heatmap_beside_the_images_is_no_image_of_the_next_run(saeviz_command, run):
    Path("album").mkdir()
    Image.new("RGB", (8, 8)).save("album/a.png")
    assert saeviz_command("heatmap", RED, "picture/3", "--run", run.dir, "--out", "album/h.png").code == ExitCode.DONE
    found = saeviz_command("check", "--images", "album", "--json", *WITHOUT_MODELS)
    assert json.loads(found.out)["images"] == 1
    assert "1 heatmap of saeviz left out: h.png" in found.err

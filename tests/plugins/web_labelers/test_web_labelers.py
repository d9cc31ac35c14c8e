"""The labelers of web services: the real client libraries, over HTTP, against a server on loopback."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from math import nan

import pytest
from PIL import Image

import saeviz
from saeviz.testing import LabelerContract
from saeviz.testing.data import Surroundings, label_request, pictures
from saeviz.testing.fakes import FakeExtractor, FakeExtractorOptions
from saeviz.testing.vlm_server import GOOD, IN, KEY, OUT, fails, says, sees_colours
from saeviz.toolkit.vlm import VLMLabeler
from tests.plugins.web_labelers.conftest import APIS, VARIABLES


class TestContract(LabelerContract):
    component = VLMLabeler

    @pytest.fixture
    def make(self, make):
        return make


# what is sent


def test_the_model_sees_the_images_and_knows_the_feature(make, server, request_of_colours):
    label = make().label(request_of_colours)
    assert (label.label, label.description) == (GOOD["label"], GOOD["description"])
    assert (label.elements, label.why) == (tuple(GOOD["visual_elements"]), GOOD["why"])
    assert label.confidence == GOOD["confidence"]
    (asked,) = server.asked
    assert asked.key == KEY
    assert asked.model == make().options.model
    assert [picture.format for picture in asked.pictures()] == ["JPEG"] * 4
    for fact in ("#5", "layer 2", "0.60", "+0.40", '"liking"', "50 images", "higher"):
        assert fact in asked.text


def test_a_server_that_sees_colours_names_and_judges_them(make, server, request_of_colours):
    server.otherwise = sees_colours
    images = [replace(item, metadata={}) for item in pictures(12) if item.metadata["colour"] == "red"]
    request = replace(request_of_colours, top=[saeviz.TopImage(item, 1.0) for item in images])
    assert make().label(request).label == "red things"
    others = [item for item in pictures(12) if item.metadata["colour"] == "blue"]
    scores = make().judge(saeviz.FeatureLabel("red things"), [*images, *others])
    assert scores.tolist() == [1.0] * len(images) + [0.0] * len(others)


def test_where_nothing_correlates_the_model_is_asked_to_explore(make, server, request_of_colours):
    uncertain = saeviz.Relation("liking", 0.4, 0.2, 0.3, 50)
    undefined = saeviz.Relation("calm", nan, nan, nan, 0)
    label = make().label(replace(request_of_colours, relations=[uncertain, undefined]))
    assert "explore" in server.asked[0].text
    assert "liking" not in server.asked[0].text
    assert label.why == "", "a reason for a correlation that is none"


def test_nothing_of_an_image_but_its_pixels_is_sent(make, server):
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    file = BytesIO()
    Image.new("RGB", (1500, 300), "red").save(file, "JPEG", exif=exif, comment=b"private")
    item = saeviz.ImageItem("secret/id", file.getvalue(), {"liking": 5.0}, {"title": "secret title"})
    make(image_size=200).label(label_request([item], n_top=1))
    (asked,) = server.asked
    (picture,) = asked.pictures()
    assert picture.size == (200, 40)
    assert not picture.getexif()
    assert "comment" not in picture.info
    assert b"where I live" not in asked.jpegs[0]
    assert "secret" not in json.dumps(asked.body)


def test_counterexamples_and_heatmaps_are_shown_when_asked_for(make, server, request_of_colours):
    make().label(request_of_colours)
    make(contrast_images=3, heatmaps=True, top_images=2).label(request_of_colours)
    plain, full = server.asked
    assert (len(plain.jpegs), len(full.jpegs)) == (4, 2 * 2 + 3)
    assert "Counterexample 3" in full.text
    assert "Counterexample" not in plain.text
    assert full.jpegs[0] == plain.jpegs[0]
    first, overlay = full.pictures()[:2]
    assert overlay.size != first.size, "the heatmap has a legend below"


def test_features_without_heatmaps_are_named_without(make, server, tmp_path, request_of_colours, caplog):
    surroundings = Surroundings(tmp_path).context

    class OfTheWholeImage(FakeExtractor):
        def heatmaps(self, *_arguments):
            raise saeviz.NoHeatmapError("the embedding has no patches")

    extractor = OfTheWholeImage(FakeExtractorOptions(), surroundings)
    labeler = make(replace(surroundings, peer=lambda role: extractor), heatmaps=True, top_images=2)
    for _ in range(2):
        assert labeler.label(request_of_colours).label
    assert [len(asked.jpegs) for asked in server.asked] == [2, 2]
    assert "heatmap" not in server.asked[0].text
    assert caplog.text.count("labeler.heatmaps: the embedding has no patches; its features are named without") == 1


def test_heatmaps_need_an_extractor_that_makes_them(make, tmp_path, request_of_colours):
    class Plain:
        spaces = ()

    context = replace(Surroundings(tmp_path).context, peer=lambda role: Plain())
    with pytest.raises(saeviz.ConfigError, match=r"^labeler\.heatmaps: "):
        make(context, heatmaps=True).label(request_of_colours)


def test_unreadable_images_make_room_for_the_next(make, server, request_of_colours):
    top = list(request_of_colours.top)
    broken = saeviz.TopImage(replace(top[0].item, source=b"no"), 9.0)
    label = make(top_images=3).label(replace(request_of_colours, top=[broken, *top]))
    assert len(server.asked[0].jpegs) == label.details["images"] == 3


# what is counted


def test_usage_and_estimate(make, request_of_colours):
    labeler = make(contrast_images=2)
    assert labeler.usage == saeviz.Usage()
    estimate = labeler.estimate([request_of_colours] * 3)
    assert (estimate.calls, estimate.images) == (3, 18)
    assert estimate.input_tokens > 18 * 200
    labeler.label(request_of_colours)
    assert labeler.usage == saeviz.Usage(1, 6, IN, labeler.usage.output_tokens)
    assert labeler.usage.output_tokens in (OUT, OUT - 40), "google-generativeai does not tell what was thought"
    again = make(contrast_images=2)
    assert again.usage == labeler.usage, "the count goes on in the next run"


def test_nothing_is_asked_beyond_the_budget(make, server, request_of_colours):
    labeler = make(max_calls=2)
    labeler.label(request_of_colours)
    labeler.label(request_of_colours)
    with pytest.raises(saeviz.PausedError, match=r"labeler\.max_calls = 2"):
        labeler.label(request_of_colours)
    with pytest.raises(saeviz.PausedError):
        make(max_calls=2).label(request_of_colours)
    assert len(server.asked) == 2
    expected = labeler.estimate([request_of_colours])
    room_for_one = 2 * (IN + OUT) + expected.input_tokens + expected.output_tokens
    with pytest.raises(saeviz.PausedError, match=r"labeler\.max_tokens = "):
        make(max_tokens=room_for_one - 100).label(request_of_colours)
    make(max_tokens=room_for_one).label(request_of_colours)


def test_threads_together_keep_to_the_budget(make, server, request_of_colours):
    server.otherwise = lambda asked: replace(says()(asked), seconds=0.05)
    labeler = make(max_calls=3, concurrency=6)

    def ask(_):
        try:
            return labeler.label(request_of_colours).label
        except saeviz.PausedError:
            return None

    with ThreadPoolExecutor(6) as pool:
        names = list(pool.map(ask, range(12)))
    assert len(server.asked) == labeler.usage.calls == sum(name is not None for name in names) == 3
    assert server.most_at_once > 1


# judging

RED = saeviz.FeatureLabel("red rectangles", "A red rectangle on grey.")


def test_a_judge_sees_words_and_numbered_images_and_nothing_else(make, server):
    items = pictures(30)
    judge = make()
    scores = judge.judge(RED, items)
    assert scores.tolist() == [float(item.metadata["colour"] == "red") for item in items]
    assert [len(asked.jpegs) for asked in server.asked] == [12, 12, 6]
    for asked in server.asked:
        assert 'The words: "red rectangles". What is meant by them: "A red rectangle on grey."' in asked.texts
        assert [text for text in asked.texts if text.startswith("Image ")] == [
            f"Image {number}:" for number in range(1, len(asked.jpegs) + 1)
        ]
        told = asked.text
        assert not any(word in told for word in ("feature", "correlat", "rating", "picture/", "activation"))
    assert judge.usage[:3] == (3, 30, 3 * IN)


def test_what_judging_takes_is_told_before(make, server):
    judge = make()
    expected = judge.estimate_judging([30, 12, 13])
    assert (expected.calls, expected.images) == (3 + 1 + 2, 55)
    assert server.asked == []
    named = judge.estimate([label_request(pictures(20), n_top=10)])
    assert expected.input_tokens / 55 == pytest.approx(named.input_tokens / 9, rel=0.5)
    assert judge.estimate_judging([]) == saeviz.Usage()


def test_an_answer_of_a_judge_that_cannot_be_used_is_asked_for_again(make, server):
    server.script = [says('{"answers": [{"image": 1, "applies": 1}]}')]
    assert make().judge(RED, pictures(3)).shape == (3,)
    first, second = server.asked
    assert "it does not mention image 2, 3" in second.texts[-1]
    assert first.texts == second.texts[:-1]
    server.otherwise = says("I cannot tell.")
    with pytest.raises(saeviz.LabelError, match=r"3 attempts: it is not a JSON object with answers"):
        make().judge(RED, pictures(3))


def test_judging_keeps_to_the_budget_and_hides_the_key(make, server, waits):
    judge = make(max_calls=2)
    with pytest.raises(saeviz.PausedError, match=r"labeler\.max_calls"):
        judge.judge(RED, pictures(30))
    assert len(server.asked) == 2
    server.otherwise = fails(500, f"cannot handle {KEY}")
    with pytest.raises(saeviz.LabelError, match=r"cannot handle \*\*\*"):
        make(max_retries=0).judge(RED, pictures(3))
    server.otherwise = says(finish="blocked")
    with pytest.raises(saeviz.LabelError, match="declines to answer"):
        make().judge(RED, pictures(3))


# the services themselves


@pytest.mark.parametrize("api", VARIABLES)
def test_live(api, tmp_path):
    options_class, factory, options, module = APIS[api]
    pytest.importorskip(module)
    variables = options_class.key_variables
    if not any(os.environ.get(name) for name in variables):
        pytest.skip(f"no key in the environment: {' or '.join(variables)}")
    labeler = factory(options_class(**options), replace(saeviz.Context(), workdir=tmp_path))
    reds = [item for item in pictures(60) if item.metadata["colour"] == "red"][:5]
    label = labeler.label(label_request(reds, n_top=5))
    assert "red" in " ".join([label.label, label.description]).lower()
    assert labeler.usage.calls >= 1
    assert labeler.usage.input_tokens > 0

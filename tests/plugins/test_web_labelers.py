"""The labelers of web services: the real client libraries, over HTTP, against a server on loopback."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
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
from saeviz.toolkit import retrying
from saeviz_anthropic import AnthropicOptions
from saeviz_anthropic.labeler import anthropic
from saeviz_gemini import GeminiOptions
from saeviz_gemini.labeler import gemini
from saeviz_openai import OpenAIOptions
from saeviz_openai.labeler import openai
from tests.vlm_server import GOOD, IN, KEY, OUT, VLMServer, fails, says, sends

APIS = {
    "gemini": (GeminiOptions, gemini, {}, "google.genai"),
    "gemini-legacy": (GeminiOptions, gemini, {"sdk": "google-generativeai"}, "google.generativeai"),
    "openai": (OpenAIOptions, openai, {}, "openai"),
    "anthropic": (AnthropicOptions, anthropic, {}, "anthropic"),
}
VARIABLES = {
    "gemini": "GEMINI_API_KEY",
    "gemini-legacy": "GEMINI_API_KEY",
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}


@pytest.fixture(params=APIS)
def api(request, monkeypatch):
    for name in os.environ:
        if name.startswith(("GEMINI_", "GOOGLE_", "OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)
    pytest.importorskip(APIS[request.param][3])
    return request.param


@pytest.fixture(scope="module")
def one_server():
    server = VLMServer()
    yield server
    server.close()


@pytest.fixture
def server(one_server):
    one_server.script.clear()
    one_server.asked.clear()
    one_server.otherwise, one_server.most_at_once = says(), 0
    return one_server


@pytest.fixture
def make(api, server, tmp_path):
    """Builds the labeler of the API, with the server for its service."""
    options_class, factory, options, _ = APIS[api]

    def build(context=None, **changes):
        url = server.url("gemini" if api == "gemini-legacy" else api)
        chosen = {"base_url": url, "api_key": KEY, "timeout": 20, **options, **changes}
        return factory(options_class(**chosen), replace(context or Surroundings(tmp_path).context, place="labeler"))

    return build


@pytest.fixture
def waits(monkeypatch):
    """What the labeler waits for, in seconds, without waiting."""
    waited = []
    monkeypatch.setattr(retrying, "pause", lambda seconds, _: waited.append(seconds) if seconds > 0 else None)
    monkeypatch.setattr(retrying, "clock", lambda: time.monotonic() + sum(waited))
    return waited


@pytest.fixture
def request_of_colours():
    return label_request(pictures(12))


class TestContract(LabelerContract):
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


# when something goes wrong


def test_a_busy_service_is_asked_again_when_it_says(make, server, waits, request_of_colours):
    server.script = [fails(429, kind="RESOURCE_EXHAUSTED", Retry_After="7"), fails(503, Retry_After="3")]
    assert make().label(request_of_colours).label == GOOD["label"]
    assert len(server.asked) == 3
    assert [round(wait) for wait in waits] == [7, 3]
    assert make().usage.calls == 1, "only what is answered is paid for"


def test_retry_after_is_waited_for_in_earnest(make, server, request_of_colours):
    server.script = [fails(429, Retry_After="1")]
    make().label(request_of_colours)
    first, second = server.asked
    assert 1.0 <= second.at - first.at < 4


def test_a_failing_service_is_asked_again_ever_more_slowly(make, server, waits, request_of_colours):
    server.script = [fails(500), fails(503), fails(500), fails(502)]
    make().label(request_of_colours)
    assert len(waits) == 4
    assert all(low <= wait <= high for wait, low, high in zip(waits, (0.5, 1, 2, 4), (1, 2, 4, 8), strict=True))


def test_a_service_that_stays_busy_pauses_the_run(make, server, waits, request_of_colours):
    server.otherwise = fails(429, "slow down")
    with pytest.raises(saeviz.PausedError, match=r"slow down \(HTTP 429\); run again later"):
        make(max_retries=2).label(request_of_colours)
    assert len(server.asked) == 3


def test_a_service_that_wants_hours_is_not_waited_for(make, server, waits, request_of_colours):
    server.otherwise = fails(429, Retry_After="3600")
    with pytest.raises(saeviz.PausedError, match="3600 seconds"):
        make().label(request_of_colours)
    assert len(server.asked) == 1
    assert waits == []


def test_a_failing_service_costs_one_label_and_then_pauses(make, server, waits, request_of_colours):
    server.otherwise = fails(500, "out of order")
    labeler = make(max_retries=1)
    for _ in range(2):
        with pytest.raises(saeviz.LabelError, match=r"layer2\.cls/5: .* out of order \(HTTP 500\)"):
            labeler.label(request_of_colours)
    with pytest.raises(saeviz.PausedError, match="3 requests in a row"):
        labeler.label(request_of_colours)
    server.otherwise = says()
    labeler.label(request_of_colours)
    server.otherwise = fails(500)
    with pytest.raises(saeviz.LabelError):
        labeler.label(request_of_colours)


def test_a_slow_service_runs_into_the_time_out(make, server, request_of_colours):
    server.otherwise = sends({}, seconds=600)
    with pytest.raises(saeviz.LabelError, match=r"(?i)time"):
        make(timeout=0.3, max_retries=0).label(request_of_colours)


@pytest.mark.parametrize(
    "act",
    [
        sends(b"<html>bad gateway</html>"),
        sends(b"<html>bad gateway</html>", status=502),
        sends(b""),
        sends(b"{}"),
        sends([]),
        sends({}),
        sends("text"),
        sends(None),
        sends({"choices": [], "candidates": [], "content": []}),
        sends({"choices": 3, "candidates": 3, "content": 3}),
        sends({"choices": [{}], "candidates": [{}], "content": [{}]}),
        lambda asked: replace(says()(asked), is_cut=True),
    ],
    ids=["html", "html 502", "nothing", "typeless", "list", "object", "text", "null", "empty", "wrong", "bare", "cut"],
)
def test_nonsense_is_no_disaster(make, server, waits, request_of_colours, act):
    server.otherwise = act
    with pytest.raises(saeviz.LabelError, match=r"layer2\.cls/5"):
        make(max_retries=1).label(request_of_colours)


def test_nobody_there(make, waits, request_of_colours):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(saeviz.LabelError, match=r"layer2\.cls/5"):
        make(base_url=f"http://127.0.0.1:{port}", max_retries=1).label(request_of_colours)
    assert len(waits) == 1


def test_a_blocked_answer_is_told_and_not_asked_again(make, server, request_of_colours):
    server.otherwise = says(finish="blocked")
    with pytest.raises(saeviz.LabelError, match=r"declines to answer: .*(blocked|can't help|refusal)"):
        make().label(request_of_colours)
    assert len(server.asked) == 1


def test_a_question_that_gemini_blocks(server, request_of_colours):
    labeler = gemini(GeminiOptions(base_url=server.url("gemini"), api_key=KEY), saeviz.Context())
    server.otherwise = sends({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}})
    with pytest.raises(saeviz.LabelError, match=r"request was blocked \(PROHIBITED_CONTENT\)"):
        labeler.label(request_of_colours)


@pytest.mark.parametrize(
    "text",
    ["```json\n" + json.dumps(GOOD) + "\n```", "Sure! " + json.dumps(GOOD) + " Anything else?"],
    ids=["fenced", "chatty"],
)
def test_an_answer_with_words_around_it_is_read(make, server, request_of_colours, text):
    server.otherwise = says(text)
    assert make().label(request_of_colours).label == GOOD["label"]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("act", "problem"),
    [
        (says("I see red things."), "not a JSON object"),
        (says(""), "empty"),
        (says(json.dumps(GOOD)[:40], finish="cut off"), "cut off at the token limit"),
        (says(label="one two three four five six"), "6 words"),
        (says(label=["red"]), "label is not text"),
        (says('{"label": "red things", "confidence": 1}'), "lacks description"),
        (says('{"name": "red things"}'), "not a JSON object with label"),
        (says(confidence="very"), "confidence"),
        (says(visual_elements=[{"name": "x"}]), "visual_elements"),
    ],
    ids=["prose", "nothing", "cut off", "too long", "wrong type", "lacking", "another object", "no number", "no texts"],
)
def test_an_answer_that_cannot_be_used_is_asked_for_again(make, server, request_of_colours, act, problem):
    server.script = [act]
    assert make().label(request_of_colours).label == GOOD["label"]
    first, second = server.asked
    assert problem in second.texts[-1]
    assert first.texts == second.texts[:-1]
    server.otherwise = act
    with pytest.raises(saeviz.LabelError, match=rf"layer2\.cls/5: .* 3 attempts: .*{problem}"):
        make().label(request_of_colours)


def test_a_missing_model_ends_the_run(make, server, request_of_colours):
    server.otherwise = fails(404, "no such model")
    with pytest.raises(saeviz.ConfigError, match=r"^labeler\.model: .* no such model"):
        make(model="gemini-0").label(request_of_colours)
    assert len(server.asked) == 1


def test_a_request_that_is_refused_is_one_label_less(make, server, request_of_colours):
    server.otherwise = fails(400, "image too large")
    with pytest.raises(saeviz.LabelError, match="image too large"):
        make().label(request_of_colours)
    assert len(server.asked) == 1, "the same question gets the same answer"


@pytest.mark.parametrize(
    ("api", "act"),
    [
        ("openai", fails(429, "You exceeded your current quota", "insufficient_quota")),
        ("anthropic", fails(400, "Your credit balance is too low to access the Anthropic API.")),
        ("anthropic", fails(402, "Pay first", "billing_error")),
        (
            "gemini",
            sends(
                {
                    "error": {
                        "code": 429,
                        "message": "You exceeded your current quota",
                        "details": [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}],
                    }
                },
                status=429,
            ),
        ),
    ],
    indirect=["api"],
)
def test_an_empty_account_pauses_the_run_at_once(make, server, waits, request_of_colours, act):
    server.otherwise = act
    with pytest.raises(saeviz.PausedError, match=r"(?i)quota|credit|pay"):
        make().label(request_of_colours)
    assert len(server.asked) == 1


@pytest.mark.parametrize("api", ["gemini", "gemini-legacy"], indirect=True)
def test_google_says_in_the_body_how_long_to_wait(make, server, waits, request_of_colours):
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "11.5s"}
    server.script = [sends({"error": {"code": 429, "message": "busy", "details": [detail]}}, status=429)]
    make().label(request_of_colours)
    assert waits == [pytest.approx(11.5, abs=0.5)]


@pytest.mark.parametrize("api", ["openai"], indirect=True)
def test_a_server_without_schemas_is_asked_without(make, server, request_of_colours):
    server.script = [fails(400, "response_format of type json_schema is not supported")]
    labeler = make(max_output_tokens=300)
    labeler.label(request_of_colours)
    labeler.label(request_of_colours)
    assert ["response_format" in asked.body for asked in server.asked] == [True, False, False]
    assert server.asked[0].body["max_tokens"] == 300


@pytest.mark.parametrize("api", ["openai"], indirect=True)
def test_an_error_in_a_body_that_says_all_is_well(make, server, waits, request_of_colours):
    server.script = [sends({"error": {"message": "upstream is down", "code": 502}})]
    make().label(request_of_colours)
    server.otherwise = sends({"error": {"message": "no such model", "code": 404}})
    with pytest.raises(saeviz.ConfigError, match="no such model"):
        make().label(request_of_colours)


def test_requests_keep_their_distance(make, server, request_of_colours):
    labeler = make(requests_per_minute=600)
    labeler.label(request_of_colours)
    server.asked.clear()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(labeler.label, [request_of_colours] * 4))
    times = sorted(asked.at for asked in server.asked)
    assert times[-1] - times[0] > 0.25


# the key


def test_a_refused_key_ends_the_run_and_is_not_quoted(make, server, request_of_colours, caplog):
    caplog.set_level(logging.DEBUG, "saeviz")
    wrong = "sk-wrong-9876543210"
    with pytest.raises(saeviz.ConfigError, match=r"^labeler\.api_key: .* rejects the key") as refused:
        make(api_key=wrong).label(request_of_colours)
    assert len(server.asked) == 1
    assert wrong not in "".join(map(str, [refused.value, refused.value.__cause__, refused.value.__context__]))
    assert wrong not in caplog.text
    assert wrong not in repr(make(api_key=wrong).options)


def test_no_error_quotes_the_key(make, server, waits, request_of_colours):
    server.otherwise = fails(500, f"cannot handle {KEY}")
    with pytest.raises(saeviz.LabelError, match=r"cannot handle \*\*\*") as failed:
        make(max_retries=0).label(request_of_colours)
    assert failed.value.__suppress_context__
    server.otherwise = says(label=f"the {KEY}")
    assert KEY not in make().label(request_of_colours).label
    server.otherwise = lambda asked: sends(json.loads(json.dumps(says()(asked).body).replace("gpt-5.4", KEY)))(asked)
    assert KEY not in json.dumps(make().label(request_of_colours).details)


def test_a_key_with_a_line_break_is_refused_unseen(make, server, request_of_colours):
    with pytest.raises(saeviz.ConfigError, match=r"^labeler\.api_key") as refused:
        make(api_key="sk-first\nsk-second").label(request_of_colours)
    assert "first" not in str(refused.value)
    make(api_key=f" {KEY}\n").label(request_of_colours)


def test_without_a_key_nothing_is_asked(api, make, request_of_colours):
    with pytest.raises(saeviz.ConfigError, match=rf"^labeler\.api_key: .*{VARIABLES[api]}"):
        make(replace(saeviz.Context(), offline=False), api_key=None, base_url=None).label(request_of_colours)


BASE_URLS = {"gemini": "GOOGLE_GEMINI_BASE_URL", "openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL"}


@pytest.mark.parametrize("api", BASE_URLS, indirect=True)
def test_the_key_of_the_environment_goes_to_the_service_only(api, make, server, monkeypatch, request_of_colours):
    monkeypatch.setenv(VARIABLES[api], KEY)
    monkeypatch.setenv(BASE_URLS[api], server.url(api))  # the library's own way to move the service elsewhere
    make(saeviz.Context(), api_key=None, base_url=None).label(request_of_colours)
    with pytest.raises(saeviz.ConfigError, match="rejects the key"):
        make(api_key=None).label(request_of_colours)
    assert [asked.key for asked in server.asked] == [KEY, "none"]


@pytest.mark.parametrize("api", ["gemini"], indirect=True)
def test_gemini_takes_either_variable(make, monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", "google")
    assert make(api_key=None, base_url=None).options.sent_key() == "google"
    monkeypatch.setenv("GEMINI_API_KEY", "gemini")
    assert make(api_key=None, base_url=None).options.sent_key() == "gemini"


def test_offline_means_offline(make, server, request_of_colours):
    offline = replace(saeviz.Context(), offline=True)
    for url in (None, "http://192.0.2.1:8000", "https://example.org/v1"):
        with pytest.raises(saeviz.ConfigError, match=r"run\.offline"):
            make(offline, base_url=url).label(request_of_colours)
    make(offline).label(request_of_colours)
    assert len(server.asked) == 1, "a server on this machine is no network"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://x", "http://", "http://me:secret@host/v1", "https://host/v1?key=secret"]
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url):
    with pytest.raises(saeviz.ConfigError, match="base_url") as refused:
        saeviz.component("labeler", "openai", base_url=url)
    assert "secret" not in str(refused.value)


def test_the_older_library_says_that_it_is_at_its_end(make, caplog, api):
    with caplog.at_level(logging.WARNING, "saeviz"):
        make()
    assert ("2025-11-30" in caplog.text) == (api == "gemini-legacy")


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

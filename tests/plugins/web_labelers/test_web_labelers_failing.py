"""The labelers of web services when something goes wrong: what is asked again, what pauses or ends the run."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import saeviz
from saeviz.testing.vlm_server import GOOD, KEY, fails, says, sends
from saeviz_gemini import GeminiOptions
from saeviz_gemini.labeler import gemini


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

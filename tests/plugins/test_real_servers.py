"""What servers of web services' protocols do beside the protocol: thoughts, parts, refusals, redirects, their words."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import saeviz
from saeviz.testing.data import Surroundings, label_request, pictures
from saeviz.testing.loopback import Handler, Loopback
from saeviz.toolkit.vlm import http_reason, text_of, tokens_of
from saeviz_anthropic import AnthropicOptions
from saeviz_anthropic.labeler import anthropic
from saeviz_gemini import GeminiOptions
from saeviz_gemini.labeler import gemini
from saeviz_openai import OpenAIOptions
from saeviz_openai.labeler import openai
from tests.waiting import PATIENCE

KEY = "sk-very-secret-0123456789"
NAME = {"label": "red doors", "description": "Doors.", "visual_elements": ["a"], "why": "", "confidence": 0.8}
KINDS = {
    "openai": (OpenAIOptions, openai, "/v1", {}, "openai"),
    "anthropic": (AnthropicOptions, anthropic, "", {}, "anthropic"),
    "gemini": (GeminiOptions, gemini, "", {}, "google.genai"),
    "gemini-legacy": (GeminiOptions, gemini, "", {"sdk": "google-generativeai"}, "google.generativeai"),
}


class Server(Loopback):
    """`answer(body)` gives status, what is sent, headers. `asked` are the bodies, `headers` theirs."""

    def __init__(self, answer):
        self.answer, self.asked, self.headers = answer, [], []
        super().__init__(_Handler, state=self)


class _Handler(Handler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = json.loads(self.body() or b"{}")
        self.state.asked.append(body)
        self.state.headers.append(dict(self.headers))
        status, found, *headers = self.state.answer(body)
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        kind = "text/html" if isinstance(found, bytes) else "application/json"
        self.send(status, data, {"content-type": kind, **dict(headers)})


@pytest.fixture
def serve():
    servers = []

    def start(answer):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def make(tmp_path):
    def build(kind, server, **changes):
        options_class, factory, path, more, module = KINDS[kind]
        pytest.importorskip(module)
        url = f"http://127.0.0.1:{server.port}{path}"
        chosen = {"base_url": url, "api_key": KEY, "max_retries": 0, "model": "m", **more, **changes}
        return factory(options_class(**chosen), Surroundings(tmp_path).context)

    return build


@pytest.fixture
def request_():
    return label_request(pictures(6))


def says(kind, text=None, **changes):
    """A whole answer of this service."""
    text = json.dumps(NAME) if text is None else text
    if kind == "openai":
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        } | changes
    if kind == "anthropic":
        content = [{"type": "text", "text": text}]
        usage = {"input_tokens": 10, "output_tokens": 5}
        return {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": content,
            "stop_reason": "end_turn",
            "usage": usage,
        } | changes
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5}} | changes


# what is sent back


@pytest.mark.parametrize(
    "content",
    [
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": json.dumps(NAME)},
        ],
        [{"type": "text", "text": json.dumps(NAME)[:20]}, {"type": "text", "text": json.dumps(NAME)[20:]}],
        [{"type": "reasoning", "text": '{"label": "a draft"}'}, {"type": "output_text", "text": json.dumps(NAME)}],
        [json.dumps(NAME)],
        {"type": "text", "text": json.dumps(NAME)},
    ],
)
def test_content_may_be_a_list_of_parts(serve, make, request_, content):
    message = {"role": "assistant", "content": content, "reasoning_content": '{"label": "a draft"}'}
    server = serve(lambda _: (200, says("openai", choices=[{"index": 0, "message": message}])))
    assert make("openai", server).label(request_).label == NAME["label"]


def test_a_refusal_may_be_a_part(serve, make, request_):
    message = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I can't help with that."}]}
    server = serve(lambda _: (200, says("openai", choices=[{"index": 0, "message": message}])))
    with pytest.raises(saeviz.LabelError, match="declines to answer: I can't help"):
        make("openai", server).label(request_)


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": "10", "completion_tokens": "5"}, {}, None, "15 tokens", {"prompt_tokens": None}]
)
def test_usage_may_be_text_or_missing(serve, make, request_, usage):
    server = serve(lambda _: (200, says("openai", usage=usage)))
    labeler = make("openai", server)
    assert labeler.label(request_).label == NAME["label"]
    assert labeler.usage.input_tokens == (10 if usage and "prompt_tokens" in usage and usage["prompt_tokens"] else 0)


@pytest.mark.parametrize("usage", [{"input_tokens": "10", "output_tokens": "5"}, {}, None])
def test_usage_of_a_server_like_anthropics(serve, make, request_, usage):
    server = serve(lambda _: (200, says("anthropic", usage=usage)))
    assert make("anthropic", server).label(request_).label == NAME["label"]


def test_counts_and_contents():
    assert [tokens_of(value) for value in ("12", 12, 12.0, None, "many", -1, [], "1e999")] == [
        12,
        12,
        12,
        0,
        0,
        0,
        0,
        0,
    ]
    assert text_of(None) == text_of([None, 3, {"type": "image_url"}]) == ""


# refused extras

REFUSALS = [
    (400, {"error": {"message": "The provided JSON schema contains features not supported by xgrammar.", "code": 400}}),
    (400, {"error": {"message": "Failed to initialize samplers: failed to parse grammar", "code": 400}}),
    (400, {"error": {"message": "This model does not support the response format json schema"}}),
    (400, {"error": "'response_format.type' must be 'text'"}),
    (400, {"error": {"message": "Bad Request"}}),
    (400, b""),
    (404, {"error": {"message": "No endpoints found that can handle the requested parameters.", "code": 404}}),
    (
        422,
        {
            "detail": [
                {"type": "extra_forbidden", "loc": ["body", "response_format"], "msg": "Extra inputs are not permitted"}
            ]
        },
    ),
    (500, {"error": {"message": "Internal Server Error"}}),
    (500, b"<html><title>500</title></html>"),
    (501, {"error": "not implemented"}),
    (200, {"error": {"message": "structured outputs are unavailable", "code": 400}}),
]


@pytest.mark.parametrize(("status", "body"), REFUSALS, ids=range(len(REFUSALS)))
def test_a_refused_schema_is_asked_for_once_and_remembered(serve, make, request_, status, body):
    server = serve(lambda asked: (status, body) if "response_format" in asked else (200, says("openai")))
    labeler = make("openai", server)
    for _ in range(3):
        assert labeler.label(request_).label == NAME["label"]
    assert ["response_format" in asked for asked in server.asked] == [True, False, False, False]


def test_models_of_gemini_without_json_mode_and_instructions(serve, make, request_):
    def answer(asked):
        config = asked.get("generationConfig", {})
        for there, message in (
            ("systemInstruction" in asked, "Developer instruction is not enabled for models/gemma-3-27b-it"),
            ("responseMimeType" in config, "JSON mode is not enabled for models/gemma-3-27b-it"),
            ("mediaResolution" in config, "Media resolution is not enabled for models/gemma-3-27b-it"),
        ):
            if there:
                return 400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}
        return 200, says("gemini")

    for kind in ("gemini", "gemini-legacy"):
        server = serve(answer)
        labeler = make(kind, server)
        assert labeler.label(request_).label == labeler.label(request_).label == NAME["label"]
        assert len(server.asked) == (5 if kind == "gemini" else 4)
        assert "what one feature of a vision model responds to" in json.dumps(server.asked[-1]["contents"])


def test_a_model_of_anthropic_without_structured_output(serve, make, request_):
    message = {"type": "invalid_request_error", "message": "output_config: Extra inputs are not permitted"}
    server = serve(
        lambda asked: (
            (400, {"type": "error", "error": message}) if "output_config" in asked else (200, says("anthropic"))
        )
    )
    labeler = make("anthropic", server)
    assert labeler.label(request_).label == labeler.label(request_).label == NAME["label"]
    assert ["output_config" in asked for asked in server.asked] == [True, False, False]


def test_a_chat_template_without_system_role(serve, make, request_):
    def answer(asked):
        if asked["messages"][0]["role"] == "system":
            return 400, {"message": "Conversation roles must alternate user/assistant/user/assistant/..."}
        return 200, says("openai")

    server = serve(answer)
    assert make("openai", server).label(request_).label == NAME["label"]
    assert [len(asked["messages"]) for asked in server.asked] == [2, 1]


@pytest.mark.parametrize(
    ("known", "unknown"), [("max_completion_tokens", "max_tokens"), ("max_tokens", "max_completion_tokens")]
)
def test_the_limit_goes_by_the_name_that_the_server_knows(serve, make, request_, monkeypatch, known, unknown):
    def answer(asked):
        if unknown in asked:
            detail = {"type": "extra_forbidden", "loc": ["body", unknown], "msg": "Extra inputs are not permitted"}
            return 422, {"detail": [detail]}
        return 200, says("openai")

    server = serve(answer)
    labeler = make("openai", server, max_output_tokens=2000)
    assert labeler.label(request_).label == labeler.label(request_).label == NAME["label"]
    assert all(known in asked for asked in server.asked[-2:])
    assert "response_format" in server.asked[-1]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "no"),
        (403, "structured outputs are not for you"),
        (404, "The model `m` does not exist."),
        (404, 'model "m" not found, try pulling it first'),
        (400, "m is not a valid model ID"),
        (400, "This model's maximum context length is 8192 tokens. Please reduce the length of the messages."),
        (400, "the request exceeds the available context size"),
        (413, "Request Entity Too Large"),
        (429, "response_format: slow down"),
        (503, "Loading model"),
        (400, "image_url is not supported"),
    ],
)
def test_what_is_another_matter_is_not_asked_again(serve, make, request_, status, message):
    server = serve(lambda _: (status, {"error": {"message": message}}))
    with pytest.raises(saeviz.SaevizError) as failed:
        make("openai", server).label(request_)
    assert len(server.asked) == 1
    assert message.replace('"', "'") in str(failed.value)


def test_where_it_was_not_the_schema_the_first_words_count_and_nothing_is_learnt(serve, make, request_):
    server = serve(lambda asked: (400, {"error": f"wrong {'first' if 'response_format' in asked else 'second'}"}))
    labeler = make("openai", server)
    with pytest.raises(saeviz.LabelError, match=r"wrong first \(HTTP 400\)"):
        labeler.label(request_)
    server.answer = lambda _: (200, says("openai"))
    labeler.label(request_)
    assert "response_format" in server.asked[-1]


# the server's words


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "too hot"}}, "too hot"),
        ({"error": "too hot"}, "too hot"),
        ({"error": {"message": {"detail": "too hot"}}}, "too hot"),
        ({"detail": "too hot"}, "too hot"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too hot"}]}, "too hot (body.n)"),
        ({"message": "too hot", "param": "n"}, "too hot (n)"),
        ({"errors": ["too hot", {"message": "too cold"}]}, "too hot; too cold"),
        ([{"error": {"message": "too hot"}}], "too hot"),
        ({"errorMessage": "too hot"}, "too hot"),
        ({"fault": {"faultstring": "too hot"}}, "too hot"),
        (b"null", "default"),
        (b"too hot\n", "too hot"),
        (b"<html><head><title>too &amp; hot</title></head><body>" + b"x" * 10**5, "too & hot"),
        (b"<!doctype html><style>p{}</style><p>too</p>\n<p>hot</p>", "too hot"),
        (b"", "default"),
        ({}, "default"),
        (None, "default"),
    ],
)
def test_what_a_server_says_is_found_wherever_it_is(body, said):
    assert http_reason(body, "default") == said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [
        {"error": f"too hot {KEY} \x1b[31m\u202e"},
        {"detail": f"too hot {KEY}\x1b[31m\u202e"},
        f"too hot {KEY}\x1b[31m\u202e".encode(),
        f"<html><body>too hot {KEY}\x1b[31m\u202e</body></html>".encode(),
    ],
)
def test_the_words_are_passed_on_without_key_and_escapes(serve, make, request_, kind, body):
    server = serve(lambda _: (418, body))
    with pytest.raises(saeviz.LabelError, match=r"too hot \*\*\*") as failed:
        make(kind, server).label(request_)
    assert str(failed.value).isprintable()
    assert "(HTTP 418)" in str(failed.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_off_answer_says_which_option_to_raise(serve, make, request_, kind):
    text = json.dumps(NAME)[:30]
    cut = {
        "openai": says(
            "openai",
            choices=[{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": text}}],
        ),
        "anthropic": says("anthropic", text, stop_reason="max_tokens"),
        "gemini": says("gemini", candidates=[{"content": {"parts": [{"text": text}]}, "finishReason": "MAX_TOKENS"}]),
    }
    server = serve(lambda _: (200, cut[kind.removesuffix("-legacy")]))
    with pytest.raises(saeviz.LabelError, match=r"cut off .*raise max_output_tokens, now 500"):
        make(kind, server, max_output_tokens=500).label(request_)


# redirects


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(serve, make, request_, kind, status):
    other = serve(lambda _: (200, says(kind.removesuffix("-legacy"))))
    to = f"http://localhost:{other.port}/v1/elsewhere?token=secret"
    server = serve(lambda _: (status, {}, ("Location", to)))
    with pytest.raises(
        saeviz.ConfigError, match=rf"base_url: .*redirects to http://localhost:{other.port}/v1"
    ) as failed:
        make(kind, server).label(request_)
    assert other.asked == []
    assert "secret" not in str(failed.value)


def test_no_token_of_the_hub_reaches_another_host(serve, tmp_path):
    """The hub's client does follow redirects: large files are elsewhere."""
    said = ("X-Repo-Commit", "a" * 40), ("ETag", '"abc"')
    other = serve(lambda _: (200, {}, *said))
    to = f"http://localhost:{other.port}/a/b/resolve/main/config.json"
    server = serve(lambda _: (302, {}, *said, ("Location", to)))
    code = "from huggingface_hub import hf_hub_download; hf_hub_download('a/b', 'config.json')"
    hub = {"HF_ENDPOINT": f"http://127.0.0.1:{server.port}", "HF_TOKEN": KEY, "HF_HOME": str(tmp_path)}
    environment = {**os.environ, **hub, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=PATIENCE)
    assert any(KEY in str(headers) for headers in server.headers)
    assert other.headers
    assert all(KEY not in str(headers) for headers in other.headers)


def test_the_client_of_a_saeviz_service_follows_no_redirect(serve):
    other = serve(lambda _: (200, {}))
    server = serve(lambda _: (307, {}, ("Location", f"http://localhost:{other.port}/v1")))
    store = saeviz.component("store", "http", url=f"http://127.0.0.1:{server.port}", token=KEY)
    with pytest.raises(saeviz.ConfigError, match=r"url"):
        store.spaces()
    assert server.headers
    assert other.headers == []

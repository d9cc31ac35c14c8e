"""What their tests share: the real client libraries, over HTTP, against a server on loopback."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from saeviz.testing.data import Surroundings, label_request, pictures
from saeviz.testing.vlm_server import KEY, VLMServer, says
from saeviz.toolkit import retrying
from saeviz_anthropic import AnthropicOptions
from saeviz_anthropic.labeler import anthropic
from saeviz_gemini import GeminiOptions
from saeviz_gemini.labeler import gemini
from saeviz_openai import OpenAIOptions
from saeviz_openai.labeler import openai

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
    server = VLMServer(otherwise=says())
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

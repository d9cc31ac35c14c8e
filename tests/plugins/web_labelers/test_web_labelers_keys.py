"""The keys of the labelers of web services, and where they may go."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

import saeviz
from saeviz.testing.vlm_server import KEY, fails, says, sends
from tests.plugins.web_labelers.conftest import VARIABLES


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

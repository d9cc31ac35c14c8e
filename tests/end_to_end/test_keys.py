"""A labeler's key is in nothing that a run writes or says, whatever happens to the requests that carry it."""

from __future__ import annotations

import json

import pytest

import saeviz
from saeviz.testing.vlm_server import KEY, VLMServer, fails, refuses_key, says, sends
from tests.conftest import FAKE_RUN
from tests.loopback import self_signed

pytestmark = pytest.mark.slow

MODULES = {
    "gemini": ("google.genai", ""),
    "gemini-legacy": ("google.generativeai", 'sdk = "google-generativeai"'),
    "openai": ("openai", 'model = "m"'),
    "anthropic": ("anthropic", 'model = "m"'),
}


@pytest.fixture
def start(tmp_path, saeviz_command, monkeypatch):
    """How to run `fake.toml` with names from a server."""
    monkeypatch.setenv("MY_SECRET", KEY)

    def start(api, server):
        protocol = api.removesuffix("-legacy")
        module, more = MODULES[api]
        pytest.importorskip(module)
        labeler = f"""use = "{protocol}"
api_key = {{ env = "MY_SECRET" }}
base_url = "{server.url(protocol)}"
max_retries = 1
concurrency = 1
{more}
"""
        text = FAKE_RUN.replace('use = "fake-labeler"', labeler).replace('use = "fake-reporter"', 'use = "html"')
        (tmp_path / "fake.toml").write_text(text + "[selector]\nlimit = 12\n")
        return saeviz_command("run", "fake.toml")

    return start


def check_it_is_nowhere(folder, done):
    """Neither as it is nor in an encoding that a message or file could have it in."""
    spellings = [KEY, KEY[::-1], json.dumps(KEY)[1:-1], KEY.encode().hex(), KEY.removeprefix("sk-very-")]
    written = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {"log.txt", "run.json", "failures.jsonl"} <= {path.name for path in written}
    for name, content in {**written, "stdout": done.out.encode(), "stderr": done.err.encode()}.items():
        assert not [one for one in spellings if one.encode() in content], name
        assert b"Traceback" not in content, name


@pytest.mark.parametrize("api", MODULES)
def test_after_resets_and_a_key_that_is_refused(start, api, tmp_path):
    server = VLMServer(otherwise=says())
    breaks = [sends({}, resets=True)] * 2
    cut = sends({"error": KEY * 100}, status=200, is_cut=True)
    server.script = [*breaks, says(), cut, cut, says(), fails(500, KEY), fails(400, f"no {KEY}")]
    server.otherwise = refuses_key
    done = start(api, server)
    server.close()
    assert done.code == saeviz.ExitCode.USAGE, done
    assert "rejects the key: " in done.err
    assert "***" in done.err
    assert len(server.asked) > 8
    check_it_is_nowhere(tmp_path / "runs", done)


@pytest.mark.parametrize("api", MODULES)
def test_after_a_certificate_of_nobody(start, api, tmp_path):
    tls = tmp_path / "tls"
    tls.mkdir()
    server = VLMServer(self_signed(tls, "labels.example"), otherwise=says())
    done = start(api, server)
    server.close()
    assert done.code == saeviz.ExitCode.PARTIAL, done
    assert "certificate" in done.err.lower()
    assert server.asked == [], "nothing is sent to a server that cannot show who it is"
    check_it_is_nowhere(tmp_path / "runs", done)

"""What `/api/openapi.json` says is what the endpoints do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from saeviz.serving.live.endpoint import Endpoint
from tests.live import picture_of

ROOT = Path(__file__).resolve().parents[2]
ASKED = {
    "/api/run": {},
    "/api/feature": {"feature": "layer1.cls/0"},
    "/api/image": {"item": "picture/1"},
    "/api/heatmap": {"feature": "layer1.cls/0", "item": "picture/1", "fine": 0},
    "/api/picture": {"item": "picture/1", "size": 32},
    "/api/neighbours": {"feature": "layer1.cls/0"},
    "/api/look": {},
    "/api/words": {"text": "a red picture"},
    "/api/patch": {"item": "picture/1", "x": 0.4, "y": 0.9},
    "/api/notes": {},
    "/api/partner": {"feature": "layer1.cls/0"},
    "/api/relabel": {"feature": "layer1.cls/0"},
    "/api/columns": {},
    "/api/openapi.json": {},
}
"""What is asked of every endpoint, one by one."""
BODIES = {
    ("put", "/api/notes"): json.dumps({"feature": "layer1.cls/0", "was": ""}),
    ("post", "/api/look"): picture_of("red"),
}
NEEDS_A_GRANT = {("post", "/api/relabel")}


@pytest.fixture(scope="module")
def described(client):
    return client.get("/api/openapi.json").json()


def test_it_is_openapi(described):
    validate(described)


def test_all_routes_below_api_are_described_and_no_others(described):
    """In the app every one is an `Endpoint`, which cannot be without a description."""
    text = "".join(path.read_text() for path in (ROOT / "saeviz" / "serving" / "live").glob("*.py"))
    assert set(described["paths"]) == set(re.findall(r'"(/api/[^"{]+)"', text))
    assert not re.findall(r"\bRoute\(\"/api", text)


@pytest.mark.parametrize("path", ASKED)
def test_answers_are_as_described(client, described, path):
    for method, operation in described["paths"][path].items():
        assert operation["summary"].endswith(".")
        answer = client.request(method, path, params=ASKED[path], content=BODIES.get((method, path)))
        if (method, path) in NEEDS_A_GRANT:
            assert answer.status_code == 422, answer.text
            continue
        assert answer.status_code == 200, answer.text
        ((kind, content),) = operation["responses"]["200"]["content"].items()
        assert answer.headers["content-type"] == kind
        if "schema" in content:
            Draft202012Validator(content["schema"]).validate(answer.json())


def test_below_a_path_it_says_so(client):
    app = Starlette(routes=[Mount("/a", client.app)])
    below = TestClient(app, base_url="http://localhost").get("/a/api/openapi.json").json()
    assert below["servers"] == [{"url": "/a"}]
    validate(below)


def test_every_endpoint_is_asked_here(described):
    assert set(ASKED) == set(described["paths"])


@pytest.mark.parametrize("path", ASKED)
def test_what_is_not_described_is_refused(client, described, path):
    method = next(iter(described["paths"][path]))
    answer = client.request(method, path, params={**ASKED[path], "colour": "red"})
    assert answer.status_code == 400
    assert "nothing called 'colour'" in answer.json()["error"]


def test_what_is_needed_is_asked_for(client, described):
    for path, operations in described["paths"].items():
        needed = [one["name"] for one in operations.get("get", {}).get("parameters", ()) if one["required"]]
        for name in needed:
            query = {key: value for key, value in ASKED[path].items() if key != name}
            answer = client.get(path, params=query)
            assert answer.status_code == 400, path
            assert f"needs {name}=" in answer.json()["error"]


def test_an_endpoint_is_a_route_that_says_what_it_is():
    async def nothing(_):
        raise AssertionError

    one = Endpoint("/api/a.b/c", nothing, "Something.", answer="image/webp", method="PUT", body={"text/plain": {}})
    operation = one.operation()
    assert operation["operationId"] == "put_a_b_c"
    assert operation["requestBody"] == {"required": True, "content": {"text/plain": {"schema": {}}}}
    assert one.methods == {"PUT"}

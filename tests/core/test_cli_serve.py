"""`saeviz serve` as seen from the other side of the wire: who may come in, what is refused."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest

import saeviz
from saeviz import ExitCode
from saeviz.formats import wire
from saeviz.testing.stores import versioned
from tests.conftest import FAKES
from tests.service import TOKEN, Served
from tests.waiting import PATIENCE

SPACE = saeviz.FeatureSpace(11, "cls", 50)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http.md"
WRITE = "/v1/features/layer11.cls?n_features=50"
CALM = {"trust_env": False, "timeout": PATIENCE}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served("--api", f"npz:{tmp_path_factory.mktemp('served')}")
    yield served
    said = served.stop()
    assert "Traceback" not in said
    assert TOKEN not in said


@pytest.fixture(scope="module")
def client(served):
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {TOKEN}"}, **CALM) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/v1/features", "/nowhere"])
@pytest.mark.parametrize(
    "given",
    [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"bearer {TOKEN}"],
)
def test_nothing_is_shown_without_the_token(served, path, given):
    headers = {} if given is None else {"Authorization": given}
    answer = httpx.get(served.url + path, headers=headers, **CALM)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "wants a token" in answer.json()["error"]


def test_says_what_it_is(client):
    found = client.get("/").json()
    assert (found["service"], found["versions"], found["writable"], found["images"]) == ("saeviz", [1], True, False)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/images", 404),
        ("GET", "/v1/images/item?item_id=a", 404),
        ("POST", "/v1/embeddings", 404),
        ("POST", "/v1/features", 405),
        ("GET", "/v1/features/layer11.cls/items", 400),
        ("GET", "/v1/features/layer11.cls/items?n_features=x", 400),
        ("GET", "/v1/features/layer11.cls/items?n_features=0", 400),
        ("GET", "/v1/features/..%2f..%2fetc/items?n_features=50", 404),
        ("GET", "/v1/features/layer11.a%20head/items?n_features=50", 400),
        ("GET", "/v1/features/layer11.cls/items?n_features=50&start=-1", 400),
        ("GET", "/v1/features/layer11.cls/items?n_features=50&limit=0", 400),
        ("POST", "/v1/features/layer11.cls/read?n_features=50", 400),
        ("GET", "/v1/features/layer99999999999999999999.cls/items?n_features=50", 400),
        ("GET", "/v1/features/layer11.cls/items?n_features=99999999999999999999", 400),
    ],
)
def test_a_request_that_makes_no_sense_gets_a_sentence(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize("body", [{}, [], {"item_ids": "a"}, {"item_ids": [1]}, {"item_ids": ["absent"]}])
def test_reading_something_that_is_not_there(client, body):
    answer = client.post("/v1/features/layer11.cls/read?n_features=50", json=body)
    assert answer.status_code == (422 if body == {"item_ids": ["absent"]} else 400)


def archive(compression=zipfile.ZIP_STORED, **arrays) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=True)
            file.writestr(f"{name}.npy", array if isinstance(array, bytes) else content.getvalue())
    return buffer.getvalue()


def parts(**changes):
    good = {
        "item_ids": np.frombuffer(b'["a"]', np.uint8),
        "indptr": np.array([0, 1], "<i8"),
        "indices": np.array([3], "<i4"),
        "values": np.array([1], "<f4"),
    }
    return {name: array for name, array in {**good, **changes}.items() if array is not None}


def claiming(shape: tuple[int, ...]) -> bytes:
    """A file that says that it is much longer than it is."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return content.getvalue()


def headed(text: str) -> bytes:
    """An array whose header is this text, which NumPy parses as Python."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


BAD = {
    "nothing": b"",
    "no zip": b"hello",
    "an array missing": archive(**parts(values=None)),
    "an array too many": archive(**parts(more=np.zeros(1))),
    "compressed": archive(zipfile.ZIP_DEFLATED, **parts()),
    "a pickle": archive(**parts(values=np.array([{"a": 1}], dtype=object))),
    "another type": archive(**parts(values=np.array([1.0]))),
    "another shape": archive(**parts(values=np.array([[1]], "<f4"))),
    "longer than it is": archive(**parts(values=claiming((2**60,)))),
    "a header that is no end of brackets": archive(**parts(values=headed("(" * 900))),
    "a header that is nested too deep": archive(**parts(values=headed("-" * 900 + "1"))),
    "a header that is too long": archive(**parts(values=headed("-" * 9000 + "1"))),
    "negative": archive(**parts(values=claiming((-1,)))),
    "no array": archive(**parts(values=b"hello")),
    "a feature too large": archive(**parts(indices=np.array([50], "<i4"))),
    "a negative feature": archive(**parts(indices=np.array([-1], "<i4"))),
    "rows that do not fit": archive(**parts(indptr=np.array([0, 2], "<i8"))),
    "rows that go back": archive(**parts(indptr=np.array([1, 0], "<i8"))),
    "not a number": archive(**parts(values=np.array([np.nan], "<f4"))),
    "no ids": archive(**parts(item_ids=np.frombuffer(b"[]", np.uint8))),
    "ids that are none": archive(**parts(item_ids=np.frombuffer(b"[7]", np.uint8))),
    "ids that are no list": archive(**parts(item_ids=np.frombuffer(b'"a"', np.uint8))),
    "an empty id": archive(**parts(item_ids=np.frombuffer(b'[""]', np.uint8))),
    "half a character": archive(**parts(item_ids=np.frombuffer(b'["\\ud800"]', np.uint8))),
}


def test_the_good_one_is_good(client):
    try:
        assert client.put(WRITE, content=archive(**parts())).status_code == 204
    finally:
        assert client.delete("/v1/features").status_code == 204


@pytest.mark.parametrize("name", BAD)
def test_a_body_that_is_not_what_it_should_be_is_refused_and_nothing_is_written(client, name):
    answer = client.put(WRITE, content=BAD[name])
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]
    assert client.get("/v1/features").json() == {"spaces": []}


@pytest.mark.slow
@pytest.mark.parametrize("with_length", [True, False])
def test_a_body_that_is_too_long_is_not_read(client, monkeypatch, with_length):
    def body():
        for _ in range(70):
            yield bytes(2**20)

    answer = client.put(WRITE, content=bytes(70 * 2**20) if with_length else body())
    assert answer.status_code == 413


def test_another_number_of_features_is_refused(client):
    client.put(WRITE, content=wire.pack_features(versioned(SPACE, ["a"])))
    wider = saeviz.FeatureSpace(11, "cls", 51)
    answer = client.put("/v1/features/layer11.cls?n_features=51", content=wire.pack_features(versioned(wider, ["a"])))
    assert answer.status_code == 422
    assert "50 features" in answer.json()["error"]
    client.delete("/v1/features")


def test_ids_come_in_pages(client):
    client.put(WRITE, content=wire.pack_features(versioned(SPACE, [f"item {n}" for n in range(30)])))
    page = client.get("/v1/features/layer11.cls/items?n_features=50&start=10&limit=5").json()
    assert page == {"total": 30, "item_ids": [f"item {n}" for n in range(10, 15)]}
    client.delete("/v1/features")


def test_the_example_of_the_docs(client, monkeypatch):
    [code] = [one for one in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "/v1/" in one]
    assert '"http://127.0.0.1:8765"' in code
    monkeypatch.setenv("SAEVIZ_TOKEN", TOKEN)
    names = {}
    exec(code.replace("http://127.0.0.1:8765", str(client.base_url).rstrip("/")), names)
    assert names["values"].tolist() == [1, 2]
    client.delete("/v1/features")


def test_many_at_once(client):
    from concurrent.futures import ThreadPoolExecutor

    def write(number):
        return client.put(WRITE, content=wire.pack_features(versioned(SPACE, [f"{number}-{k}" for k in range(5)])))

    with ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(write, range(24))} == {204}
    assert client.get("/v1/features/layer11.cls/items?n_features=50").json()["total"] == 120
    client.delete("/v1/features")


# ---- without a token


@pytest.mark.slow
def test_without_a_token_a_web_page_of_another_name_does_not_come_in(tmp_path):
    served = Served("--api", f"npz:{tmp_path}", token=None)
    for host, status in (
        (f"127.0.0.1:{served.port}", 200),
        ("localhost", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil", 403),
        ("[::1]:80", 200),
        ("[::1].evil.example", 403),
    ):
        answer = httpx.get(f"{served.url}/", headers={"Host": host}, **CALM)
        assert answer.status_code == status, host
    served.stop()


@pytest.mark.parametrize(
    ("arguments", "token", "message"),
    [
        (["--api", "npz:s", "--host", "0.0.0.0"], None, "other machines could connect; set the environment variable"),
        (["runs/fake", "--host", "0.0.0.0"], None, "other machines could connect; set the environment variable"),
        (["--api", "npz:s"], "short", "SAEVIZ_TOKEN: a token must have at least 16"),
        (["--api", "npz:s"], "with a space in between", "SAEVIZ_TOKEN: a token must have at least 16"),
        (["--api", "npz:s", "--token-env", "NOT_SET"], None, "the environment variable NOT_SET is not set"),
        (["--api", "npx:s"], None, "'npx' is not a store"),
        (["--api", "npz:s", "--set", "stor.path=x"], None, "--set stor: write store.OPTION=VALUE"),
        (["runs/fake", "--set", "store.path=x"], None, "--set sets an option of a store, which is served with --api"),
        (["nowhere"], None, "nowhere is not a run directory"),
    ],
)
def test_a_mistake_gets_a_sentence(saeviz_command, finished_run, monkeypatch, arguments, token, message):
    if token:
        monkeypatch.setenv("SAEVIZ_TOKEN", token)
    ended = saeviz_command("serve", *arguments, "--port", "0")
    assert message in ended.err, ended
    assert ended.code == ExitCode.USAGE
    assert token is None or token not in ended.err


def test_a_port_that_is_taken(saeviz_command, served, tmp_path):
    ended = saeviz_command("serve", "--api", "npz:s", "--port", str(served.port))
    assert "in use; --port 0 picks a free one" in ended.err
    assert ended.code == ExitCode.USAGE


# ---- a run in the browser


@pytest.mark.slow
def test_a_web_page_that_opens_a_web_socket_gets_an_ordinary_refusal(finished_run):
    """Every page that a browser has open may try; browsers do not ask whether it may."""
    served = Served(finished_run.parent / "runs" / "fake", "--plugins", FAKES, token=None)
    upgrade = {
        "Host": "evil.example", "Connection": "Upgrade", "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13",
    }  # fmt: skip
    assert httpx.get(served.url, headers=upgrade, **CALM).status_code == 403
    assert "Traceback" not in served.stop()


@pytest.mark.slow
def test_a_browser_gives_the_token_once(finished_run):
    served = Served(finished_run.parent / "runs" / "fake", "--plugins", FAKES)
    try:
        with httpx.Client(base_url=served.url, **CALM) as browser:
            refused = browser.get("/")
            assert refused.status_code == 401
            assert "in a browser: /?token=TOKEN" in refused.json()["error"]
            assert browser.get("/", params={"token": f"{TOKEN}x"}).status_code == 401
            assert browser.get("/api/run", headers={"Cookie": f"saeviz={TOKEN}"}).status_code == 401
            entered = browser.get("/", params={"token": TOKEN})
            assert (entered.status_code, entered.headers["location"]) == (303, "/")
            cookie = entered.headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Lax" in cookie
            assert TOKEN not in cookie
            assert browser.get("/").status_code == 200
            assert browser.get("/api/run").json()["name"] == "fake"
        header = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{served.url}/api/run", headers=header, **CALM).status_code == 200
    finally:
        said = served.stop()
    assert TOKEN not in said

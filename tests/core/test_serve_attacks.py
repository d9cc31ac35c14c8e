"""`saeviz serve` over raw sockets: what is no HTTP, or no request of ours, gets a refusal and nobody else notices."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import saeviz
from saeviz.testing.stores import SPACE
from saeviz.toolkit.wire import pack_pictures, unpack_arrays
from tests.conftest import FAKE_RUN, FAKES
from tests.service import TOKEN, Served
from tests.waiting import PATIENCE, wait_until

HOST = "Host: localhost\r\n"
KEY = f"Authorization: Bearer {TOKEN}\r\n"
PUT = f"PUT /v1/features/{SPACE}?n_features={SPACE.n_features} HTTP/1.1\r\n{HOST}{KEY}"
CHUNKED = PUT + "Transfer-Encoding: chunked\r\n\r\n"
WEBSOCKET = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"


def get(path: str, more: str = "", method: str = "GET") -> str:
    return f"{method} {path} HTTP/1.1\r\n{HOST}{KEY}{more}Connection: close\r\n\r\n"


REQUESTS = {
    "endless headers": (f"GET / HTTP/1.1\r\n{HOST}" + "X: aaaaaaaaaaaaaaaa\r\n" * 20_000, (400,)),
    "an endless line": ("GET /" + "a" * 500_000, (400,)),
    "bytes": ("\x00\xff\r\n\r\n" * 100, (400,)),
    "TLS": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "x" * 500 + "\r\n\r\n", (400,)),
    "no chunk": (CHUNKED + "ZZZ\r\nabc\r\n", (400, None)),
    "a negative chunk": (CHUNKED + "-5\r\nabc\r\n", (400, None)),
    "an endless chunk line": (CHUNKED + "5;" + "a" * 200_000, (400, None)),
    "two lengths": (PUT + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", (400,)),
    "a huge length": (PUT + "Connection: close\r\nContent-Length: 99999999999999999999\r\n\r\nabc", (400, 413)),
    "a length of 5000 digits": (PUT + f"Content-Length: {'9' * 5000}\r\n\r\nabc", (400,)),
    "no digit": (PUT + "Content-Length: \xb2\r\n\r\nabc", (400,)),
    "a negative length": (PUT + "Content-Length: -1\r\n\r\nabc", (400,)),
    "two hosts": (f"GET / HTTP/1.1\r\nHost: evil.example\r\n{HOST}\r\n", (400,)),
    "another's address": (get("http://evil.example/"), (404,)),
    "a file's address": (get("file:///etc/passwd"), (404,)),
    "a proxy": (get("evil.example:443", method="CONNECT"), (404, 405)),
    "a way out": (get("/..%2f..%2frun.json"), (404,)),
    "a way out, twice encoded": (get("/%252e%252e/run.json"), (404,)),
    "a backslash": (get("/..\\run.json"), (404,)),
    "NUL": (get("/a%00b"), (404,)),
    "a bare NUL": (get("/a\x00b"), (400,)),
    "line ends": (get("/a%0d%0aX-Evil:%201"), (404,)),
    "no UTF-8": (get("/%ff%ed%a0%80"), (404,)),
    "a lone percent": (get("/%"), (404,)),
    "a long name": (get("/" + "a" * 5000), (404,)),
    "many folders": (get("/" + "a/" * 5000), (404,)),
    "OPTIONS": (get("/", method="OPTIONS"), (405,)),
    "TRACE": (get("/", method="TRACE"), (405,)),
    "HEAD": (get("/", method="HEAD"), (200,)),
    "a web socket": (get("/", WEBSOCKET), (200,)),
    "HTTP/2": (get("/", "Upgrade: h2c\r\nHTTP2-Settings: x\r\n"), (200,)),
    "ranges": (get("/", "Range: bytes=" + ",".join(["0-"] * 1000) + "\r\n"), (200, 416)),
}


def told(port: int, data: bytes) -> bytes:
    """All that is answered until the other side closes; a reset ends it, too."""
    got = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(60)
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                got += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    return got


def status(answer: bytes) -> int | None:
    """The status of an answer, None where the connection was only closed."""
    return int(answer.split(b" ", 2)[1]) if answer else None


def since_the_start(said: str) -> list[str]:
    """What a server wrote to the terminal once it was there: where it is, and that it has stopped."""
    return said[said.index("saeviz: serving") :].splitlines()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A run with a report."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "fake.toml").write_text(FAKE_RUN)
    made = saeviz.run(folder / "fake.toml").dir
    (made / "report").mkdir()
    (made / "report" / "index.html").write_text("<html>report</html>")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("what", ["report", "api"])
def test_what_is_no_request_is_refused_and_nobody_else_notices(report, what, tmp_path):
    """One server takes them all: nothing is written to the terminal, and it still answers."""
    served = Served("--api", f"npz:{tmp_path / 'store'}") if what == "api" else Served(report, token=None)
    try:
        for name, (request, expected) in REQUESTS.items():
            is_write = not request.startswith(("GET ", "HEAD ", "\x00", "\x16"))
            early = (403,) if what == "report" and is_write else ()
            answer = told(served.port, request.encode("latin-1"))
            assert status(answer) in (*expected, *early), (name, answer[:300])
            assert b"x-evil" not in answer.lower().partition(b"\r\n\r\n")[0], name
            assert b"root:" not in answer, name
        assert (
            httpx.get(
                served.url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=PATIENCE
            ).status_code
            == 200
        )
    finally:
        said = served.stop()
    assert len(since_the_start(said)) == 2, said


@pytest.mark.slow
def test_ctrl_c_twice_ends_it_without_a_traceback(report):
    served = Served(report, token=None)
    httpx.get(served.url, trust_env=False, timeout=PATIENCE)
    served.process.send_signal(signal.SIGINT)
    assert "Traceback" not in served.stop()


@pytest.mark.slow
def test_a_second_ctrl_c_waits_for_no_model_and_leaves_nothing_behind(finished_run, tmp_path, monkeypatch):
    run, own = finished_run.parent / "runs" / "fake", tmp_path / "own"
    manifest = json.loads((run / "run.json").read_text())
    manifest["config"]["extractor"]["seconds_per_item"] = 3600
    (run / "run.json").write_text(json.dumps(manifest))
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    served = Served(run, "--plugins", FAKES, token=None)
    assert list(own.glob("saeviz-serve-*"))
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    head = f"POST /api/look HTTP/1.1\r\n{HOST}Origin: http://localhost\r\nContent-Length: {picture.tell()}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port)) as waiting:
        waiting.sendall(head.encode() + picture.getvalue())
        httpx.get(served.url, trust_env=False, timeout=PATIENCE)
        served.process.send_signal(signal.SIGINT)
        wait_until(lambda: not answers(served.port), lambda: served.process.poll() is None)
        assert "Traceback" not in served.stop()
    assert served.process.returncode == saeviz.ExitCode.INTERRUPTED
    assert not list(own.glob("saeviz-serve-*"))


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.slow
def test_a_name_that_is_not_of_this_machine_is_refused(report):
    served = Served(report, token=None)
    try:
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil", "127.1", "", "[::1].evil", "0.0.0.0"):
            answer = told(served.port, f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert status(answer) == 403, host
        assert status(told(served.port, b"GET / HTTP/1.0\r\n\r\n")) == 403
    finally:
        served.stop()


@pytest.mark.slow
def test_pipelined_requests_are_answered_in_order(report):
    served = Served(report, token=None)
    try:
        first = f"GET / HTTP/1.1\r\n{HOST}\r\n" * 3
        answer = told(served.port, (first + get("/gone")).encode())
        assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200"] * 3 + [b"404"]
    finally:
        served.stop()


@pytest.mark.slow
def test_it_ends_although_a_request_has_not_come_whole(tmp_path):
    served = Served("--api", f"npz:{tmp_path / 'store'}")
    waiting = []
    asks_first = PUT + "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    for head in (PUT + "Content-Length: 500\r\n\r\nabc", CHUNKED, asks_first, "GET / HT", ""):
        waiting.append(socket.create_connection(("127.0.0.1", served.port)))
        waiting[-1].sendall(head.encode())
    httpx.get(served.url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=PATIENCE)
    said = served.stop()
    assert served.process.returncode == 0
    assert len(said.splitlines()) == 2, said
    for one in waiting:
        one.close()


def _whole(served, name):
    return httpx.get(f"{served.url}/{name}", trust_env=False, timeout=PATIENCE).raise_for_status().content


@pytest.mark.slow
def test_a_client_that_leaves_in_the_middle_of_an_answer(report):
    served = Served(report, token=None)
    try:
        page = httpx.get(served.url, trust_env=False, timeout=PATIENCE).text
        script = max(re.findall(r'(?<=src=")[^"]+', page), key=lambda name: len(_whole(served, name)))
        whole = _whole(served, script)
        assert len(whole) > 10_000
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", served.port)) as connection:
                connection.sendall(get(f"/{script}").encode())
                connection.recv(1000)
        assert _whole(served, script) == whole
    finally:
        said = served.stop()
    assert len(since_the_start(said)) == 2, said


@pytest.mark.slow
def test_a_client_that_leaves_in_the_middle_of_eight_megabytes(tmp_path):
    """More than the buffers between two processes hold: the service is still sending when nobody is there."""
    n = 1_000_000
    body = BytesIO()
    ids = np.frombuffer(b'["a"]', np.uint8)
    row = {"indptr": np.array([0, n]), "indices": np.arange(n, dtype=np.int32), "values": np.ones(n, np.float32)}
    np.savez(body, item_ids=ids, **row)
    served = Served("--api", f"npz:{tmp_path / 'store'}")
    try:
        key = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=served.url, headers=key, trust_env=False, timeout=PATIENCE) as client:
            put = client.put(f"/v1/features/layer1.cls?n_features={n}", content=body.getvalue())
            assert put.status_code == 204, put.text
            asked = '{"item_ids": ["a"]}'
            read = f"/v1/features/layer1.cls/read?n_features={n}"
            for _ in range(10):
                with socket.create_connection(("127.0.0.1", served.port)) as connection:
                    request = get(read, f"Content-Length: {len(asked)}\r\n", method="POST") + asked
                    connection.sendall(request.encode())
                    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            assert len(client.post(read, content=asked).content) > 8 * n
    finally:
        said = served.stop()
    assert len(since_the_start(said)) == 2, said


def test_a_port_that_is_taken_is_named(saeviz_command, report):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = saeviz_command("serve", report, "--port", str(taken.getsockname()[1]))
    assert ended.code == saeviz.ExitCode.USAGE
    assert "--port 0 picks a free one" in ended.err


@pytest.mark.slow
@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_the_other_loopback_address(report):
    served = Served(report, "--host", "::1", token=None)
    try:
        assert served.url == f"http://[::1]:{served.port}"
        assert httpx.get(served.url, trust_env=False, timeout=PATIENCE).status_code == 200
    finally:
        served.stop()


BROKEN = """
import saeviz

class Embedder:
    dim = 3

    def embed(self, items):
        raise RuntimeError("out of memory")

@saeviz.hookimpl
def saeviz_embedding_providers():
    yield saeviz.EmbeddingProviderSpec(
        name="broken", summary="fails", options=saeviz.Options, factory=lambda options, context: Embedder()
    )
"""


@pytest.mark.slow
def test_a_model_that_fails_is_a_sentence_for_client_and_terminal(report, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    copy = tmp_path / "run"
    shutil.copytree(report, copy)
    manifest = json.loads((copy / "run.json").read_text())
    manifest["config"]["embeddings"] = {"use": "broken"}
    (copy / "run.json").write_text(json.dumps(manifest))
    served = Served("--api", copy, "--plugins", FAKES, "--plugins", tmp_path / "broken.py")
    try:
        answer = httpx.post(f"{served.url}/v1/embeddings", content=pack_pictures([b"x"]), trust_env=False,
                            timeout=PATIENCE, headers={"Authorization": f"Bearer {TOKEN}"})  # fmt: skip
    finally:
        said = served.stop()
    sentence = "embeddings: broken fails with RuntimeError: out of memory"
    assert (answer.status_code, answer.json()) == (500, {"error": sentence})
    assert f"warning: {sentence}" in said
    assert "Traceback" not in said


def peak(served: Served) -> int:
    """MiB of memory that the service has had at most; 0 where the system does not say."""
    path = Path(f"/proc/{served.process.pid}/status")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM")), 0)


@pytest.mark.slow
def test_many_pictures_at_once_take_bounded_memory(report):
    """One body of 15 MiB after the other is unpacked, in one thread: threads that take turns keep memory of each."""
    noise = np.random.default_rng(0).integers(0, 256, (2280, 2280, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(noise).save(file, "PNG", compress_level=1)
    body = pack_pictures([file.getvalue()])
    served = Served("--api", report, "--plugins", FAKES)

    def post(_: int) -> httpx.Response:
        for _ in range(200):  # a busy machine has no room for some of them at first
            answer = httpx.post(f"{served.url}/v1/embeddings", content=body, trust_env=False, timeout=600,
                                headers={"Authorization": f"Bearer {TOKEN}"})  # fmt: skip
            if answer.status_code != 503:
                break
        return answer

    try:
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(post, range(12)))
        assert {answer.status_code for answer in answers} == {200}
        expected = {"vectors": ("<f4", 2), "errors": ("u1", 1)}
        assert all(np.isfinite(unpack_arrays(answer.content, expected)["vectors"]).all() for answer in answers)
        assert peak(served) < 400
    finally:
        served.stop()

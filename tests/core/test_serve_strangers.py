"""`saeviz serve` of a run from a stranger: none of its files by path, only images; many connections, large bodies."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from saeviz.testing.stores import SPACE, versioned
from saeviz.toolkit.wire import pack_features
from tests.conftest import FAKES
from tests.service import TOKEN, Served
from tests.waiting import PATIENCE, wait_until

PAGE = "<html>report</html>"
WRITE = f"/v1/features/{SPACE}?n_features={SPACE.n_features}"


def ask(served: Served, path: str, **more) -> httpx.Response:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return httpx.get(f"{served.url}{path}", headers=headers, trust_env=False, timeout=PATIENCE, **more)


# ---- the files of a run


@pytest.fixture
def received(finished_run) -> Path:
    """A run with a report, and a key beside it."""
    made = finished_run.parent / "runs" / "fake"
    (made / "report").mkdir()
    (made / "report" / "index.html").write_text(PAGE)
    (made / "secret.html").write_text("secret")
    (made.parent / "keys").mkdir()
    (made.parent / "keys" / "index.html").write_text("secret")
    (made.parent / "keys" / "id_rsa").write_text("secret")
    return made


@pytest.mark.slow
def test_no_file_of_the_run_is_served_by_its_path(received):
    (received / "report" / "out").symlink_to(received.parent / "keys")
    (received / "report" / "key.txt").symlink_to(received.parent / "keys" / "id_rsa")
    served = Served(received, "--plugins", FAKES, token=None)
    try:
        answer = httpx.get(served.url, trust_env=False, timeout=PATIENCE)
        assert answer.text != PAGE
        assert "form-action 'none'" in answer.headers["content-security-policy"]
        for path in ("run.json", "secret.html", "id_rsa", "out/id_rsa", "key.txt", "../run.json", "..%2frun.json",
                     "out/", "%2e%2e/run.json", "/etc/passwd", "features", "report/index.html"):  # fmt: skip
            with socket.create_connection(("127.0.0.1", served.port)) as connection:
                head = f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode())
                told = b"".join(iter(lambda connection=connection: connection.recv(65536), b""))
            assert told.startswith((b"HTTP/1.1 404", b"HTTP/1.1 405")), (path, told)
    finally:
        served.stop()


# ---- images


@pytest.mark.slow
def test_only_what_is_an_image_is_handed_out(tmp_path, finished_run):
    (tmp_path / "key.png").write_text("secret")
    (tmp_path / "page.ps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "folder.png").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.txt", "png")
    names = ["/etc/passwd", "key.png", "page.ps", "folder.png", "red.txt", "gone.png", "/dev/zero"]
    (tmp_path / "images.csv").write_text("".join(f"{line}\n" for line in ("path,mood", *(f"{n},1" for n in names))))
    made = finished_run.parent / "runs" / "fake"
    manifest = json.loads((made / "run.json").read_text())
    manifest["config"]["images"] = {"use": "table", "path": str(tmp_path / "images.csv")}
    (made / "run.json").write_text(json.dumps(manifest))
    served = Served("--api", made, "--plugins", FAKES)
    try:
        for name in names:
            answer = ask(served, "/v1/images/file", params={"item_id": name})
            if name == "red.txt":
                assert answer.content == (tmp_path / "red.txt").read_bytes()
            else:
                assert answer.status_code in (404, 422), name
                assert b"root:" not in answer.content
                assert b"secret" not in answer.content
    finally:
        said = served.stop()
    assert "Traceback" not in said


# ---- load


def silent(served: Served, how_many: int, head: bytes = b"") -> list[socket.socket]:
    """Connections on which nothing more comes."""
    made = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(how_many)]
    for one in made:
        one.sendall(head)
    return made


@pytest.fixture
def served(tmp_path):
    made = Served("--api", f"npz:{tmp_path / 'served'}")
    yield made
    assert "Traceback" not in made.stop()


@pytest.fixture(scope="module")
def served_to_all(tmp_path_factory):
    """One for the tests after which it is as it was before."""
    made = Served("--api", f"npz:{tmp_path_factory.mktemp('served')}")
    yield made
    assert "Traceback" not in made.stop()


@pytest.mark.parametrize("how_many", [100, pytest.param(600, marks=pytest.mark.slow)])
@pytest.mark.parametrize("head", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"PUT /v1/features HTTP/1.1\r\n\r\n"])
def test_idle_connections_keep_nobody_out(served_to_all, how_many, head):
    idle = silent(served_to_all, how_many, head)
    try:
        assert {ask(served_to_all, "/").status_code for _ in range(5)} == {200}
    finally:
        for one in idle:
            one.close()


def test_those_without_the_token_do_not_count(served_to_all):
    begun = b"PUT /v1/features/x HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n"
    idle = silent(served_to_all, 100, begun)
    try:
        assert ask(served_to_all, "/").status_code == 200
    finally:
        for one in idle:
            one.close()


def begun(served: Served, length: int) -> socket.socket:
    """A request with the token, whose body does not come."""
    connection = socket.create_connection(("127.0.0.1", served.port))
    head = f"PUT {WRITE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


@pytest.mark.slow
def test_beyond_the_limit_only_the_surplus_is_refused(served):
    from saeviz.serving.limits import REQUESTS

    waiting = [begun(served, 10) for _ in range(REQUESTS - 1)]
    try:
        assert ask(served, "/").status_code == 200, "one more may come"
        waiting.append(begun(served, 10))
        wait_until(lambda: ask(served, "/").status_code == 503)
        assert ask(served, "/").headers["retry-after"] == "1"
        waiting.pop().close()
        wait_until(lambda: ask(served, "/").status_code == 200)
    finally:
        for one in waiting:
            one.close()


@pytest.mark.slow
def test_many_large_bodies_at_once_take_bounded_memory(served):
    body = bytes(60 * 2**20)

    def put(_):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for _ in range(200):  # where the machine is busy some find no room at first, and come again as they are told
            answer = httpx.put(f"{served.url}{WRITE}", content=body, headers=headers, trust_env=False, timeout=PATIENCE)
            if answer.status_code != 503:
                break
            assert answer.headers["retry-after"] == "1"
        return answer.status_code

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(put, range(20))) == {422}, "each is taken, and said not to be features"
    status = Path(f"/proc/{served.process.pid}/status")
    if status.exists():
        peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        assert peak < 600 * 1024, f"{peak} kB"


@pytest.mark.slow
def test_bodies_that_are_never_sent_do_not_hold_the_room(served, monkeypatch):
    full = [begun(served, 60 * 2**20) for _ in range(2)]
    try:
        small = pack_features(versioned(SPACE, ["a"]))
        answer = httpx.put(f"{served.url}{WRITE}", content=small, headers={"Authorization": f"Bearer {TOKEN}"},
                           trust_env=False, timeout=PATIENCE)  # fmt: skip
        assert answer.status_code == 204, "there is room for it beside them"
    finally:
        for one in full:
            one.close()


def test_small_answers_leave_at_once(tmp_path):
    from saeviz.serving.connections import listen

    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP, "else asyncio does not set TCP_NODELAY"
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert accepted.proto == socket.IPPROTO_TCP


@contextmanager
def serving(app):
    """The address of an app on the server of `saeviz serve`, in this process, where time-outs can be short."""
    import uvicorn

    from saeviz.serving import connections

    config = uvicorn.Config(app, http=connections.Connection, ws="none", lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    with connections.listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join()


async def start(send, status):
    await send({"type": "http.response.start", "status": status, "headers": []})


@pytest.mark.slow
def test_an_answer_that_nobody_reads_is_dropped(monkeypatch):
    monkeypatch.setattr("saeviz.serving.connections.STALLED_SECONDS", 0.2)
    ended = threading.Event()

    async def app(scope, receive, send):
        await start(send, 200)
        await send({"type": "http.response.body", "body": bytes(2**26)})
        ended.set()

    with serving(app) as address, socket.create_connection(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ended.wait(PATIENCE)


@pytest.mark.slow
def test_a_connection_without_a_request_is_closed(monkeypatch):
    """The time-out itself, with a short one, in this process."""
    monkeypatch.setattr("saeviz.serving.connections.HEADER_SECONDS", 0.2)

    async def app(scope, receive, send):
        await start(send, 204)
        await send({"type": "http.response.body", "body": b""})

    with serving(app) as address:
        for begun in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT"):
            with socket.create_connection(address) as connection:
                connection.settimeout(PATIENCE)
                connection.sendall(begun)
                told = b"".join(iter(lambda connection=connection: connection.recv(65536), b""))
                assert told.count(b"204 No Content") == begun.count(b"\r\n\r\n")

"""Queries, pages and answers without an end come to one: with a sentence, not with a full disk or memory."""

from __future__ import annotations

import gzip
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from threading import Event

import pytest

import saeviz
from saeviz.testing.data import Surroundings, label_request, pictures
from saeviz.testing.loopback import Handler, Loopback
from tests.plugins.test_real_servers import KEY, KINDS
from tests.service import answering, send

httpx = pytest.importorskip("httpx")
COUNTING = "with recursive n(i) as (select 1 union all select i + 1 from n) "


@pytest.fixture
def sql_images(tmp_path):
    pytest.importorskip("sqlalchemy")
    from saeviz_sql import SqlImagesOptions
    from saeviz_sql.images import SqlImages

    path = tmp_path / "art.sqlite"
    sqlite3.connect(path).close()
    return lambda query, **columns: SqlImages(SqlImagesOptions(path=path, query=query, **columns), saeviz.Context())


def test_a_query_of_endless_rows(sql_images, monkeypatch):
    monkeypatch.setattr("saeviz_sql.images.MOST_RECORDS", 1000)
    images = sql_images(f"{COUNTING} select i as id, 'a.png' as path from n", path_column="path")
    with closing(images), pytest.raises(saeviz.DataError, match="it gives more than 1,000 rows; does it terminate"):
        list(images.iter_images())


def test_a_query_that_never_answers(sql_images, monkeypatch):
    monkeypatch.setattr("saeviz_sql.images.MOST_SECONDS", 0)
    with (
        closing(sql_images(f"{COUNTING} select count(*) as id, 'a' as path from n", path_column="path")) as images,
        pytest.raises(saeviz.RunDirError, match="interrupted; the query did not finish in time"),
    ):
        list(images.iter_images())


def test_a_picture_in_a_database_that_is_too_large(sql_images, monkeypatch):
    monkeypatch.setattr("saeviz_sql.images.MOST_BYTES", 1 << 20)
    query = "select 1 as id, zeroblob(2000000) as image"
    with closing(sql_images(query, image_column="image")) as images:
        (item,) = images.iter_images()
        with pytest.raises(saeviz.ImageError, match="it has more than 1 MiB"):
            item.open()


class Endless(Handler):
    """A service whose pages go on for ever, and whose pictures do."""

    about: dict[str, int]

    def answer(self) -> None:
        path = self.path.partition("?")[0]
        self.send_response(200)
        self.end_headers()
        if path == "/":
            self.wfile.write(json.dumps({"service": "saeviz", "versions": [1], "images": True}).encode())
        elif path == "/v1/images":
            self.wfile.write(json.dumps({"items": [{}], "total": self.about["total"]}).encode())
        else:
            try:
                while True:
                    self.wfile.write(b"x" * 10_000)
            except OSError:
                return


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a server that sends the head of an answer a letter at a time, without an end."""
    ended = Event()

    def drip(handler, number):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        with suppress(OSError):
            while not ended.wait(0.02):
                handler.wfile.write(b"x")

    with answering(drip) as url:
        yield url
        ended.set()


@pytest.fixture
def about() -> dict[str, int]:
    """What the service says of itself."""
    return {"total": 1}


@pytest.fixture
def service(about) -> Iterator[Loopback]:
    with Loopback(Endless, about=about) as server:
        yield server


@pytest.fixture
def client(service):
    from saeviz_http import HttpOptions
    from saeviz_http.client import Client

    options = HttpOptions(url=service.url, timeout=20, retries=0)
    with closing(Client(options, saeviz.Context(), "images")) as client:
        yield client


@pytest.mark.parametrize(
    ("limit", "value", "said"), [("MOST_BYTES", 1 << 20, "more than 1 MiB"), ("PATIENCE", 0, "not finished after 0 s")]
)
def test_an_answer_that_does_not_end(client, monkeypatch, limit, value, said):
    monkeypatch.setattr(f"saeviz_http.client.{limit}", value)
    with pytest.raises(saeviz.DataError, match=said):
        client.get_bytes("/v1/images/file")


def test_a_service_whose_head_drips(dripping, monkeypatch):
    from saeviz_http import HttpOptions
    from saeviz_http.client import Client

    monkeypatch.setattr("saeviz_http.client.PATIENCE", 1)
    options = HttpOptions(url=dripping, timeout=0.5, retries=0)
    with (
        closing(Client(options, saeviz.Context(), "images")) as client,
        pytest.raises(saeviz.DataError, match=r"images: .* not finished after 0\.5 s"),
    ):
        client.get_bytes("/v1/images/file")


@pytest.mark.parametrize("total", [10**18, 10**3000, -1])
def test_a_list_of_pages_that_does_not_end(about, client, total):
    from saeviz_http.client import pages

    about["total"] = total
    with pytest.raises(saeviz.DataError, match="more items than a list can have"):
        list(pages(lambda start: client.get("/v1/images", start=start), "items", client))


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 10_000


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [("MOST_BYTES", 1 << 20, "more than 1 MiB"), ("LONGEST_ANSWER", -1.0, "not finished")],
)
@pytest.mark.parametrize("unpacks", [False, True])
def test_an_answer_of_supabase_that_does_not_end(monkeypatch, limit, value, said, unpacks):
    from saeviz_supabase.transport import RetryingTransport

    monkeypatch.setattr(f"saeviz_supabase.transport.{limit}", value)
    bomb = gzip.compress(bytes(3 << 20))
    answer = httpx.Response(200, headers={"content-encoding": "gzip"} if unpacks else {}, content=iter([bomb]))
    answer = answer if unpacks else httpx.Response(200, content=endless())
    inner = httpx.MockTransport(lambda request: answer)
    transport = RetryingTransport(inner, "images", logging.getLogger("saeviz"), str)
    with closing(httpx.Client(transport=transport)) as client, pytest.raises(saeviz.SaevizError, match=said):
        client.get("http://127.0.0.1/rest")


def test_a_head_of_supabase_that_drips(dripping, monkeypatch):
    from saeviz_supabase.transport import RetryingTransport

    monkeypatch.setattr("saeviz_supabase.transport.LONGEST_ANSWER", 0.5)
    transport = RetryingTransport(httpx.HTTPTransport(), "images", logging.getLogger("saeviz"), str)
    with (
        closing(httpx.Client(transport=transport)) as client,
        pytest.raises(saeviz.SaevizError, match=r"images: .* not finished after 0\.5 s"),
    ):
        client.get(dripping)


def test_a_packed_answer_of_supabase_comes_whole():
    from saeviz_supabase.transport import RetryingTransport

    answer = httpx.Response(200, headers={"content-encoding": "gzip", "x": "y"}, content=gzip.compress(b'{"a": 1}'))
    transport = RetryingTransport(httpx.MockTransport(lambda _: answer), "images", logging.getLogger("saeviz"), str)
    with closing(httpx.Client(transport=transport)) as client:
        found = client.get("http://127.0.0.1/rest")

    assert found.json() == {"a": 1}
    assert found.headers["x"] == "y"


# labelers


@pytest.fixture(params=["gemini", "gemini-legacy", "openai", "anthropic"])
def labeler_at(request, tmp_path):
    """A labeler that asks a server on loopback, whose every answer is what a function sends."""
    options_class, factory, path, more, module = KINDS[request.param]
    pytest.importorskip(module)

    def build(url, **changes):
        chosen = {"base_url": url + path, "api_key": KEY, "max_retries": 0, "model": "m", **more, **changes}
        return factory(options_class(**chosen), Surroundings(tmp_path).context)

    return build


def without_end(handler, number):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b" " * 2**20)


def test_an_endless_answer_costs_a_label_and_little_memory(labeler_at):
    with answering(without_end) as url, pytest.raises(saeviz.LabelError, match=r"layer2\.cls/5: .* more than 16 MiB"):
        labeler_at(url).label(label_request(pictures(3)))


def test_an_answer_that_drips_is_not_waited_for(labeler_at):
    ended = Event()

    def drip(handler, number):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        with suppress(OSError):
            while not ended.wait(0.02):
                handler.wfile.write(b" ")

    with answering(drip) as url, pytest.raises(saeviz.LabelError, match=r"not finished after 0\.5 s"):
        labeler_at(url, timeout=0.5).label(label_request(pictures(3)))
    ended.set()


def test_a_head_that_drips_is_not_waited_for(labeler_at, dripping, monkeypatch):
    monkeypatch.setattr("saeviz.toolkit.vlm.asking.BESIDES", 0.5)
    with pytest.raises(saeviz.LabelError, match=r"layer2\.cls/5: .* not finished after 1 s"):
        labeler_at(dripping, timeout=0.5).label(label_request(pictures(3)))


@pytest.mark.parametrize("status", [200, 500])
def test_a_compressed_answer_does_not_unfold(labeler_at, status):
    bomb = gzip.compress(bytes(64 << 20))
    with (
        answering(lambda handler, number: send(handler, status, bomb, Content_Encoding="gzip")) as url,
        pytest.raises(saeviz.LabelError, match=r"compressed although|more than 16 MiB"),
    ):
        labeler_at(url).label(label_request(pictures(3)))

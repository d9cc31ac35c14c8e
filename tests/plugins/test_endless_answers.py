"""Queries, pages and answers without an end come to one: with a sentence, not with a full disk or memory."""

from __future__ import annotations

import gzip
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

import saeviz
from tests.loopback import Handler, Loopback

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
    [("MOST_BYTES", 1 << 20, "more than 1 MiB"), ("LONGEST_ANSWER", -1.0, "is not finished")],
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


def test_a_packed_answer_of_supabase_comes_whole():
    from saeviz_supabase.transport import RetryingTransport

    answer = httpx.Response(200, headers={"content-encoding": "gzip", "x": "y"}, content=gzip.compress(b'{"a": 1}'))
    transport = RetryingTransport(httpx.MockTransport(lambda _: answer), "images", logging.getLogger("saeviz"), str)
    with closing(httpx.Client(transport=transport)) as client:
        found = client.get("http://127.0.0.1/rest")

    assert found.json() == {"a": 1}
    assert found.headers["x"] == "y"

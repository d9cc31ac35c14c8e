"""The image provider `sql`, on SQLite and on PostgreSQL."""

from __future__ import annotations

import gc
import sqlite3
import sys
import tracemalloc
from io import BytesIO

import pytest
from PIL import Image

import saeviz
from saeviz.testing import ImageProviderContract
from saeviz_sql import SqlImagesOptions
from saeviz_sql.images import SqlImages
from tests.hostile_server import Site

pytest.importorskip("sqlalchemy", reason="needs pip install 'saeviz[sql]'")

ROWS = [
    # id, path, liking, calm, liking_sd, title
    (10, "a.png", 4.5, 1, 0.5, "Nighthawks"),
    (9, "sub/b.png", None, 2, 0.5, "Café: a study"),
    (8, "c.png", None, None, None, None),
    (7, "absent.png", 2.0, 3, 0.1, "  "),
]


def png(shade: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (6, 4), (shade % 256, 80, 120)).save(buffer, "png")
    return buffer.getvalue()


class Tables:
    """A database with the tables `paintings` and `pictures`; the files of the first are in `folder`."""

    def __init__(self, folder, url=None):
        self.folder = folder
        self.where = {"url": url} if url else {"path": folder / "art.sqlite"}
        self.url = url
        self.execute(
            "create table paintings (id integer, path text, liking real, calm integer, liking_sd real, title text)"
        )
        self.execute(f"create table pictures (id text, image {'bytea' if url else 'blob'}, liking real)")
        self.fill("paintings", ROWS)
        for number, (_, path, *_) in enumerate(ROWS[:3]):
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(png(number))

    def execute(self, statement, *rows):
        if self.url:
            import psycopg

            with psycopg.connect(self.url) as connection:
                connection.cursor().executemany(statement.replace("?", "%s"), rows or [()])
        else:
            with sqlite3.connect(self.folder / "art.sqlite") as connection:
                connection.executemany(statement, rows or [()])

    def fill(self, table, rows):
        self.execute(f"insert into {table} values ({', '.join('?' * len(rows[0]))})", *rows)

    def images(self, **options):
        columns = {} if {"image_column", "url_column"} & set(options) else {"path_column": "path"}
        options = {"query": "select * from paintings", "folder": self.folder, **columns, **options}
        return SqlImages(SqlImagesOptions(**self.where, **options), saeviz.Context())


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def tables(request, tmp_path):
    return Tables(tmp_path, request.getfixturevalue("database_url") if request.param == "PostgreSQL" else None)


class TestContractWithPaths(ImageProviderContract):
    n_images = 4

    @pytest.fixture
    def provider(self, tables):
        return tables.images()


class TestContractWithPictures(ImageProviderContract):
    n_images = 4

    @pytest.fixture
    def provider(self, tables):
        rows = [("b", png(1), 3.0), ("../x", png(2), None), ("É%s:x", b"broken", 1.0), ("B\\0", png(3), float("nan"))]
        tables.fill("pictures", rows)
        return tables.images(query="select * from pictures", image_column="image")


def known(provider):
    return {item.item_id: (dict(item.ratings), dict(item.metadata)) for item in provider.iter_images()}


def test_numbers_are_ratings_and_text_is_metadata(tables):
    assert known(tables.images()) == {
        "7": ({"liking": 2.0, "calm": 3.0}, {"liking_sd": "0.1"}),
        "8": ({}, {}),
        "9": ({"calm": 2.0}, {"title": "Café: a study", "liking_sd": "0.5"}),
        "10": ({"liking": 4.5, "calm": 1.0}, {"title": "Nighthawks", "liking_sd": "0.5"}),
    }


def test_the_order_is_that_of_the_ids_whatever_the_query_says(tables):
    for order in ("", "order by title desc", "order by id desc"):
        assert list(known(tables.images(query=f"select * from paintings {order}"))) == ["7", "8", "9", "10"]


def test_the_query_chooses_rows_and_may_be_written_in_many_ways(tables):
    query = """
        -- only those with a rating
        with rated as (select * from paintings where liking is not null and title like '%k%')
        select id, path, 'a: b' as "note", liking as "how % much" from rated; """
    assert known(tables.images(query=query)) == {"10": ({"how % much": 4.5}, {"note": "a: b"})}
    assert tables.images(query=query.strip("; ") + " -- the end").get_image("10").ratings == {"how % much": 4.5}
    assert tables.images(query=query).get_image("9") is None


def test_named_ratings_may_be_text_and_what_is_no_number_is_told(tables):
    tables.execute("create table marks (id text, path text, mark text, other integer)")
    tables.fill(
        "marks", [("a", "a.png", "1.5", 3), ("b", "b.png", "bad", 4), ("c", "c.png", "2e1", 5), ("d", "", " ", 6)]
    )
    provider = tables.images(query="select * from marks", rating_columns=["mark"])
    ratings = {item_id: ratings for item_id, (ratings, _) in known(provider).items()}
    assert ratings == {"a": {"mark": 1.5}, "b": {}, "c": {"mark": 20.0}, "d": {}}
    assert known(provider)["b"] == ({}, {"other": "4"})
    assert provider.notes() == ["the query: 1 value of 'mark' is not a finite number and counts as missing: 'bad'"]


def test_pictures_in_the_database_are_read_when_opened(tables):
    tables.fill("pictures", [("a", png(1), 1.0), ("none", None, 1.0)])
    provider = tables.images(query="select * from pictures", image_column="image")
    item, none = provider.iter_images()
    assert item.open().getpixel((0, 0)) == (1, 80, 120)
    tables.execute("update pictures set image = ? where id = 'a'", (png(9),))
    assert item.open().getpixel((0, 0)) == (9, 80, 120)
    changed = provider.get_image("a")
    assert changed.fingerprint != item.fingerprint
    assert changed.fingerprint == provider.get_image("a").fingerprint
    with pytest.raises(saeviz.ImageError, match="'none' cannot be read: its record has no picture"):
        none.open()
    tables.execute("delete from pictures")
    with pytest.raises(saeviz.ImageError, match="'a'"):
        item.open()


def test_memory_does_not_grow_with_the_pictures(tables):
    noise = [(f"{number:04}", bytes([number % 256]) * 500_000, 1.0) for number in range(60)]
    tables.fill("pictures", noise)
    provider = tables.images(query="select * from pictures", image_column="image")
    provider.get_image("0000")
    tracemalloc.start()
    n_items = sum(1 for _ in provider.iter_images())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_items == 60
    assert peak < 5_000_000


@pytest.mark.parametrize("path", ["../secret.png", "sub/../../secret.png", "/etc/passwd", "a.png\0.txt", "", None])
def test_a_path_that_leads_out_of_the_folder_is_not_read(tmp_path, path):
    (tmp_path / "secret.png").write_bytes(png(0))
    (tmp_path / "in").mkdir()
    tables = Tables(tmp_path / "in")
    tables.execute("delete from paintings")
    tables.fill("paintings", [("x", path, 1.0, 1, 1.0, "")])
    (item,) = tables.images().iter_images()
    with pytest.raises(saeviz.ImageError, match=r"leads out of images.folder|has no path"):
        item.open()


def test_without_a_folder_paths_are_relative_to_the_file_and_may_lead_anywhere(tmp_path):
    (tmp_path / "elsewhere.png").write_bytes(png(5))
    (tmp_path / "in").mkdir()
    tables = Tables(tmp_path / "in")
    tables.execute("update paintings set path = '../elsewhere.png' where id = 7")
    assert tables.images(folder=None).get_image("7").open().getpixel((0, 0)) == (5, 80, 120)
    assert tables.images(folder=None).get_image("9").open().getpixel((0, 0)) == (1, 80, 120)


def test_a_url_among_paths_is_refused_and_not_quoted(tables):
    tables.execute("update paintings set path = ? where id = 9", ("https://alice:hunter2@example.org/x.png?s3cr3t",))
    with pytest.raises(saeviz.DataError, match=r"item '9' has a URL instead.*images\.url_column") as caught:
        list(tables.images().iter_images())
    assert not any(secret in str(caught.value) for secret in ("hunter2", "s3cr3t"))


@pytest.fixture
def by_url(tables):
    """Four records with URLs: a picture, another, one that is not there, none; and the server."""
    site = Site()
    site.answers.update({"/a.png": png(1), "/b.png": png(2)})
    for number, path in ((7, "/a.png"), (8, "/b.png"), (9, "/c.png")):
        address = site.url(f"{path}?key=s3cr3t", "alice:hunter2@127.0.0.1")
        tables.execute("update paintings set path = ? where id = ?", (address, number))
    tables.execute("update paintings set path = null where id = 10")

    def provide(cache, **options):
        chosen = {"query": "select * from paintings", "url_column": "path", "allow_private": True, **options}
        return SqlImages(SqlImagesOptions(**tables.where, **chosen), saeviz.Context(cache_dir=cache))

    yield provide, site
    site.stop()


def test_urls_are_fetched_when_opened_and_once_for_all(by_url, tmp_path):
    provide, site = by_url
    provider = provide(tmp_path / "cache")
    a, b, absent, none = provider.iter_images()
    assert site.asked == []
    assert [item.open().getpixel((0, 0)) for item in (a, b)] == [(1, 80, 120), (2, 80, 120)]
    assert isinstance(a.source, saeviz.HasBytes)
    for item, sentence in ((absent, r"127\.0\.0\.1.*answers 404"), (none, "its record has no URL")):
        with pytest.raises(saeviz.ImageError, match=sentence) as caught:
            item.open()
        assert not any(secret in str(caught.value) for secret in ("hunter2", "s3cr3t", "alice"))
    provider.close()
    asked = len(site.asked)
    other = provide(tmp_path / "cache")
    assert other.get_image("7").open().getpixel((0, 0)) == (1, 80, 120)
    assert len(site.asked) == asked
    assert not any("path" in item.metadata for item in other.iter_images()), "URLs may hold secrets"
    other.close()


def test_urls_are_fetched_under_the_limits(by_url, tmp_path):
    provide, _ = by_url
    for options, sentence in (
        ({"allow_private": False}, "not a public internet address"),
        ({"max_megabytes": 1e-5}, "larger"),
    ):
        provider = provide(tmp_path / "cache", **options)
        with pytest.raises(saeviz.ImageError, match=sentence):
            provider.get_image("7").open()
        provider.close()


def test_the_file_of_a_stored_picture_can_be_had_for_what_runs_share(tables):
    tables.fill("pictures", [("a", png(1), 1.0), ("none", None, 1.0)])
    item, none = tables.images(query="select * from pictures", image_column="image").iter_images()
    assert item.source.read_bytes() == png(1)
    assert not isinstance(none.source, saeviz.HasBytes)


def test_a_column_that_holds_no_pictures_is_told(tables):
    with pytest.raises(saeviz.SaevizError, match=r"'title' holds a value of type str, not the bytes|type bytea"):
        [item.open() for item in tables.images(image_column="title").iter_images() if item.item_id == "10"]


@pytest.mark.parametrize(("value", "sentence"), [(None, "record .* has no id"), (10, "'10' occurs more than once")])
def test_rows_need_ids_that_differ(tables, value, sentence):
    tables.fill("paintings", [(value, "a.png", 1.0, 1, 1.0, "")])
    with pytest.raises(saeviz.DataError, match=f"images.id_column: .*{sentence}"):
        list(tables.images().iter_images())


@pytest.mark.parametrize("option", ["id_column", "path_column", "image_column", "rating_columns", "url_column"])
def test_a_column_that_is_not_there_is_named(tables, option):
    value = ["nothing"] if option == "rating_columns" else "nothing"
    with pytest.raises(saeviz.ConfigError, match=rf"images.{option}: no column 'nothing'; there are: id, path, li"):
        list(tables.images(**{option: value}).iter_images())


@pytest.mark.parametrize(
    "query", ["select * from nowhere", "drop table paintings", "delete from paintings returning *"]
)
def test_a_query_that_gives_no_rows_is_explained_and_does_nothing(tables, query):
    with pytest.raises(saeviz.SaevizError, match=r"nowhere|syntax error"):
        list(tables.images(query=query).iter_images())
    assert len(known(tables.images())) == 4


def test_a_reader_that_stops_does_not_notice_that_the_server_has_ended_its_connection(
    tmp_path, database_url, monkeypatch
):
    images = Tables(tmp_path, database_url).images().iter_images()
    next(images)
    import psycopg

    with psycopg.connect(database_url) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    del images
    gc.collect()
    assert ignored == []


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    provider = SqlImages(
        SqlImagesOptions(path=tmp_path / "no.sqlite", query="select 1", path_column="x"), saeviz.Context()
    )
    with pytest.raises(saeviz.DataError, match=r"no file .*no\.sqlite"):
        list(provider.iter_images())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"path_column": "x"}, "which database"),
        ({"url": "postgresql://h/d", "path": "x", "path_column": "x"}, "which database"),
        ({"path": "x"}, "where are the pictures"),
        ({"path": "x", "path_column": "x", "image_column": "y"}, "where are the pictures"),
        ({"path": "x", "path_column": "x", "url_column": "y"}, "where are the pictures"),
    ],
)
def test_options_say_which_database_and_where_the_pictures_are(options, sentence):
    with pytest.raises(saeviz.ConfigError, match=sentence):
        saeviz.component("images", "sql", query="select 1", **options)


def test_columns_are_told_apart_as_in_a_table(tables):
    """Statistics, row numbers, ids and codes; blobs and arrays are neither metadata nor read with every row."""
    is_sqlite = "path" in tables.where
    blob, array = ("blob", "text") if is_sqlite else ("bytea", "float[]")
    tables.execute(
        f"create table works (id integer, path text, valence text, valence_sd real, imageid integer, x integer, "
        f"other integer, thumb {blob}, vector {array}, theme text)"
    )
    numbers = ", ".join(f"{n}.25" for n in range(64))
    vector = f"[{numbers}]" if is_sqlite else "{" + numbers + "}"
    rows = [
        (n, "a.png", f"{n},5", 0.25 * n, 100 + n, n, 999 if n == 2 else n, b"secret", vector, "sea") for n in range(6)
    ]
    tables.fill("works", rows)
    provider = tables.images(query="select * from works")
    assert known(provider)["3"] == (
        {"valence": 3.5},
        {"valence_sd": "0.75", "imageid": "103", "x": "3", "other": "3", "theme": "sea"},
    )
    notes = " ".join(provider.notes())
    for said in ("valence_sd looks like a spread", "imageid looks like an id", "x looks like a row number"):
        assert said in notes
    assert "'other' is not read as a rating: 999 (once) looks like a code" in notes
    assert "'thumb' (bytes)" in notes
    assert "vector" in notes
    assert "secret" not in notes
    named = tables.images(query="select * from works", rating_columns=["other"])
    assert known(named)["2"][0] == {"other": 999.0}
    with pytest.raises(saeviz.ConfigError, match="'thumb' holds bytes, not numbers"):
        known(tables.images(query="select * from works", rating_columns=["thumb"]))


def test_groups(tables):
    provider = tables.images(group_column="calm")
    assert {item.item_id: item.group for item in provider.iter_images()} == {"10": "1", "9": "2", "8": None, "7": "3"}
    assert provider.get_image("9").group == "2"
    assert "calm" not in provider.get_image("9").ratings
    same = tables.images(group_column="id").get_image("9")
    assert same.group == "9"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_column": "nothing"}, r"images\.group_column: no column 'nothing'"),
        (
            {"query": "select * from pictures", "image_column": "image", "group_column": "image"},
            "holds bytes, not text",
        ),
    ],
)
def test_a_group_column_that_is_none(tables, options, message):
    with pytest.raises(saeviz.ConfigError, match=message):
        next(tables.images(**options).iter_images())


def test_categories_and_labels(tables):
    texts = ["[]", '["sky", "sea"]', "sky", None]
    array = ["{}", "{sky,sea}", "{sky}", None]
    tables.execute(f"create table works (id integer, path text, kind text, tags {'text[]' if tables.url else 'text'})")
    rows = zip(range(4), ["a.png"] * 4, ["a", "b", "", "a"], array if tables.url else texts, strict=True)
    tables.fill("works", list(rows))
    options = {"categories": ["kind"], "multi_labels": ["tags"], "min_images": 1}
    provider = tables.images(query="select * from works", **options)
    assert [item.ratings for item in provider.iter_images()] == [
        {"kind=a": 1.0, "kind=b": 0.0, "tags=sky": 0.0, "tags=sea": 0.0},
        {"kind=a": 0.0, "kind=b": 1.0, "tags=sky": 1.0, "tags=sea": 1.0},
        {"tags=sky": 1.0, "tags=sea": 0.0},
        {"kind=a": 1.0, "kind=b": 0.0},
    ]
    assert provider.get_image("2").ratings == {"tags=sky": 1.0, "tags=sea": 0.0}

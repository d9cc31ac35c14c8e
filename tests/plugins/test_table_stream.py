"""Streamed tables: Parquet files of names, or with the pictures in them, of which nothing is held."""

from __future__ import annotations

import json
import random
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import saeviz
from saeviz.testing import DividesIntoShardsContract
from saeviz.toolkit import line_stream, parquet_stream
from saeviz_table import TableOptions, UrlOptions
from saeviz_table.provider import TableImages
from saeviz_table.streamed import open_table, open_urls
from tests.hostile_server import Site, picture

COLOURS = ("red", "green", "blue", "white", "black")
PICTURES = [picture(colour) for colour in COLOURS]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Few rows are many here."""
    monkeypatch.setattr(parquet_stream, "FEWEST_ROWS", 2)
    monkeypatch.setattr(parquet_stream, "PICTURES_TOGETHER", 2)


def write(path, rows: int = 5, per_group: int = 1, start: int = 0, **columns):
    n = range(start, start + rows)
    base = {"title": [f"title {i}" for i in n], "liking": [None if i % 3 == 1 else i / 2 for i in n]}
    pq.write_table(pa.table({**base, **columns}), path, row_group_size=per_group)
    return path


def streamed(path, **options) -> TableImages:
    return open_table(TableOptions(path=path, stream=True, **options), saeviz.Context())


def known(provider) -> dict[str, tuple]:
    return {item.item_id: (dict(item.ratings), dict(item.metadata), item.group) for item in provider.iter_images()}


@pytest.fixture
def bytes_inside(tmp_path):
    return write(tmp_path / "art.parquet", image=[*PICTURES[:3], None, b"no picture"])


@pytest.fixture
def folder(tmp_path):
    """Two files as the library `datasets` writes them."""
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    inside = [{"bytes": data, "path": None} for data in PICTURES]
    outside = [{"bytes": None, "path": "here.png"}, {"bytes": None, "path": "../missing.png"}]
    (folder / "here.png").write_bytes(PICTURES[0])
    write(folder / "train-00000.parquet", image=inside, per_group=2)
    write(folder / "sub" / "a.parquet", rows=2, start=5, image=outside)
    return folder


@pytest.fixture
def names(tmp_path):
    for number, data in enumerate(PICTURES):
        (tmp_path / f"{number}.png").write_bytes(data)
    return write(
        tmp_path / "names.parquet",
        rows=6,
        per_group=2,
        file=["0.png", "1.png", "", "3.png", "missing.png", "4.png"],
        artist=["a", "a", "b", None, "b", "c"],
    )


class TestBytesInATable(DividesIntoShardsContract):
    n_images = 5

    @pytest.fixture
    def provider(self, bytes_inside):
        provider = streamed(bytes_inside)
        yield provider
        provider.close()


class TestFolderOfParquet(DividesIntoShardsContract):
    n_images = 7

    @pytest.fixture
    def provider(self, folder):
        provider = streamed(folder)
        yield provider
        provider.close()


class TestStreamedNames(DividesIntoShardsContract):
    n_images = 5

    @pytest.fixture
    def provider(self, names):
        return streamed(names)


class TestStreamedUrls(DividesIntoShardsContract):
    n_images = 3

    @pytest.fixture
    def provider(self, tmp_path):
        site = Site()
        site.answers.update({"/0.png": PICTURES[0], "/1.png": PICTURES[1]})
        urls = [site.url("/0.png"), site.url("/1.png?secret=1"), site.url("/2.png")]
        path = write(tmp_path / "urls.parquet", rows=3, url=urls)
        options = UrlOptions(path=path, stream=True, allow_private=True)
        provider = open_urls(options, saeviz.Context(cache_dir=tmp_path / "cache"))
        yield provider
        provider.close()
        site.stop()


@pytest.fixture
def small_lines(monkeypatch):
    monkeypatch.setattr(line_stream, "BYTES_TOGETHER", 20)


class TestStreamedRecords(DividesIntoShardsContract):
    n_images = 5

    @pytest.fixture
    def provider(self, names, small_lines):
        rows = pq.read_table(names).to_pylist()
        path = names.with_suffix(".jsonl")
        path.write_text("\ufeff" + "\n".join(map(json.dumps, rows)) + "\n\n")
        return streamed(path)


class TestStreamedList(DividesIntoShardsContract):
    n_images = 5

    @pytest.fixture
    def provider(self, names, small_lines):
        path = names.with_suffix(".txt")
        path.write_text("# pictures\n" + "\r\n".join(f"{number}.png" for number in range(4)) + "\n\n#\n  d\u00e4.png  ")
        return streamed(path)


def test_streamed_records_say_the_same_as_those_that_are_read(names, small_lines):
    rows = [{**row, "more": [1], "tags": ["x"] * (n % 2)} for n, row in enumerate(pq.read_table(names).to_pylist())]
    path = names.with_suffix(".jsonl")
    path.write_text("\n".join(map(json.dumps, rows)))
    options = {"group_column": "artist", "multi_labels": ("tags",), "min_images": 1}
    whole = TableImages(TableOptions(path=path, **options), saeviz.Context())
    provider = streamed(path, **options)
    assert known(provider) == known(whole)
    assert list(provider.notes()) == list(whole.notes())
    assert list(next(provider.iter_images()).metadata) == list(next(whole.iter_images()).metadata)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.jsonl", b'{"file": "x"}\n{"file"\n', r"a\.jsonl cannot be read: line 2 is not a JSON record"),
        ("a.jsonl", b"[1]\n", r"line 1 is not a record \(\{"),
        ("a.jsonl", b'{"a": 1, "a": 2}\n', "two values called 'a'"),
        ("a.jsonl", b'{"file": "\xff"}\n', "line 1 is not valid UTF-8"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not a JSON record"),
        ("a.txt", b"x.png\ny.png\t1\n", "line 2 has a tab, so this is a table"),
        ("a.txt", b"x" * (17 << 20), "line 1 has more than 16 MiB"),
        ("a.txt", b"# nothing\n\n", "no row of .* names an image"),
        ("a.txt", b"", "no row of .* names an image"),
    ],
)
def test_lines_that_cannot_be_read(tmp_path, name, data, reason):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(saeviz.DataError, match=reason):
        list(streamed(tmp_path / name).iter_images())


def test_pictures_in_a_table_are_read_when_they_are_opened(bytes_inside):
    provider = streamed(bytes_inside)
    assert known(provider) == {
        "art/0": ({"liking": 0.0}, {"title": "title 0"}, None),
        "art/1": ({}, {"title": "title 1"}, None),
        "art/2": ({"liking": 1.0}, {"title": "title 2"}, None),
        "art/3": ({"liking": 1.5}, {"title": "title 3"}, None),
        "art/4": ({}, {"title": "title 4"}, None),
    }
    items = {item.item_id: item for item in provider.iter_images()}
    for number in (2, 0, 1, 0):
        assert items[f"art/{number}"].read_bytes() == PICTURES[number]
    with pytest.raises(saeviz.ImageError, match="image 'art/3' cannot be read: row 4 has no picture"):
        items["art/3"].open()


def test_pictures_are_read_in_any_order_and_by_threads(folder):
    from concurrent.futures import ThreadPoolExecutor

    provider = streamed(folder)
    wanted = [provider.get_image(f"train-00000/{number}") for number in (4, 0, 3, 1, 2) * 20]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda item: item.read_bytes(), wanted))
    assert found == [PICTURES[number] for number in (4, 0, 3, 1, 2) * 20]
    assert provider.get_image("sub/a/0").read_bytes() == PICTURES[0]


def test_a_run_that_returns_to_its_pictures_reads_a_row_group_twice_not_for_each(tmp_path, monkeypatch):
    """Extraction is some hundred pictures ahead of those whose digests are taken for the cache."""
    monkeypatch.setattr(parquet_stream, "KEPT", 0)
    read = []
    source = parquet_stream.local_source(
        write(tmp_path / "t.parquet", 300, 300, image=[b"%d" % row for row in range(300)]), tmp_path
    )
    counting = source._replace(open=lambda: read.append(1) or source.open())
    pictures = parquet_stream.Pictures(counting, "image")
    for row in range(300):
        assert pictures.read(row) == b"%d" % row
        if row >= 100:
            assert pictures.read(row - 100) == b"%d" % (row - 100)
    assert len(read) == 2
    assert [pictures.read(row) for row in (299, 0, 150)] == [b"299", b"0", b"150"]
    pictures.close()


def test_threads_at_the_border_of_row_groups_open_a_file_once(tmp_path):
    source = parquet_stream.local_source(
        write(tmp_path / "t.parquet", 100, 10, image=[b"%d" % row for row in range(100)]), tmp_path
    )
    read = []
    pictures = parquet_stream.Pictures(source._replace(open=lambda: read.append(1) or source.open()), "image")
    for first in range(0, 100, 4):
        assert [pictures.read(row) for row in range(first + 3, first - 1, -1)] == [
            b"%d" % row for row in range(first + 3, first - 1, -1)
        ]
    assert len(read) == 1


def test_shards_are_row_groups_several_together_if_they_are_small(folder, monkeypatch):
    assert streamed(folder).shards() == ["sub/a/0", "train-00000/0", "train-00000/2", "train-00000/4"]
    monkeypatch.setattr(parquet_stream, "FEWEST_ROWS", 3)
    assert streamed(folder).shards() == ["sub/a/0", "train-00000/0", "train-00000/4"]


def test_a_streamed_table_says_the_same_as_one_that_is_read(names):
    whole = TableImages(TableOptions(path=names, group_column="artist"), saeviz.Context())
    provider = streamed(names, group_column="artist")
    assert known(provider) == known(whole)
    assert list(provider.notes()) == list(whole.notes())
    assert "1 row is without an image or an id in names.parquet" in provider.notes()


def test_ids_may_be_in_a_column(names, bytes_inside):
    assert list(known(streamed(bytes_inside, item_column="title"))) == [f"title {number}" for number in range(5)]
    provider = streamed(names, item_column="title")
    assert provider.get_image("title 3").source.name == "3.png"
    assert provider.get_image("title 2") is None


def test_categories_of_a_streamed_table(names):
    provider = streamed(names, categories=("artist",), min_images=2)
    assert provider.get_image("0.png").ratings == {"liking": 0.0, "artist=a": 1.0, "artist=b": 0.0}


def test_a_picture_that_changes_changes_the_version(bytes_inside):
    before = streamed(bytes_inside).get_image("art/0").fingerprint
    write(bytes_inside, rows=6, image=[*PICTURES, PICTURES[0]])
    assert streamed(bytes_inside).get_image("art/0").fingerprint != before


def test_a_table_with_pictures_says_how_it_is_read(folder):
    with pytest.raises(saeviz.ConfigError, match=r"'image' holds pictures.*images\.stream = true reads them"):
        list(TableImages(TableOptions(path=folder / "train-00000.parquet"), saeviz.Context()).iter_images())


@pytest.mark.parametrize(
    ("columns", "options", "reason"),
    [
        ({"a": [b"x"] * 5}, {}, "images.image_column: which column of t.parquet has the images"),
        (
            {"image": [b"x"] * 5, "file_path": [b"x"] * 5},
            {},
            "say which one; t.parquet has pictures in image, file_path",
        ),
        ({"image": [b"x"] * 5}, {"image_column": "picture"}, "no column 'picture'"),
        ({"image": [b"x"] * 5}, {"item_column": "code"}, "no column 'code'"),
        ({"file": list("vwxyz")}, {}, "none of the first 5 files that t.parquet names exists"),
    ],
)
def test_tables_that_cannot_be_streamed(tmp_path, columns, options, reason):
    with pytest.raises(saeviz.SaevizError, match=reason):
        list(streamed(write(tmp_path / "t.parquet", **columns), **options).iter_images())


def test_files_that_cannot_be_streamed(tmp_path, folder):
    (tmp_path / "t.json").write_text('[{"file": "a.png"}]')
    (tmp_path / "t.csv.gz").write_bytes(b"")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "none.parquet", rows=0, image=pa.array([], pa.binary()))
    for name, reason in {
        "t.json": "images.stream: t.json is neither Parquet, CSV .* nor a list .*; save the table as one of these",
        "t.csv.gz": "nor a list .*; unpack it, or remove stream",
        "broken.parquet": "images.path: broken cannot be read",
        "empty": "images.path: no Parquet files in",
        "missing.parquet": "images.path: no file",
        "none.parquet": "has no rows",
    }.items():
        with pytest.raises(saeviz.DataError, match=reason):
            list(streamed(tmp_path / name).iter_images())
    pq.write_table(pa.table({"image": PICTURES}), folder / "z.parquet")
    with pytest.raises(saeviz.DataError, match="z cannot be read: it has not all columns of the first file"):
        list(streamed(folder).iter_images())


def test_an_image_in_a_table_has_one_row(bytes_inside):
    with pytest.raises(saeviz.ConfigError, match=r"art\.parquet has the pictures in 'image', so each of its rows is"):
        list(streamed(bytes_inside, rater_column="title").iter_images())


def test_a_table_that_has_become_shorter_fails_by_picture(bytes_inside):
    item = streamed(bytes_inside).get_image("art/2")
    write(bytes_inside, rows=1, image=PICTURES[:1])
    with pytest.raises(
        saeviz.ImageError, match="image 'art/2' cannot be read: the table has changed since it was first read"
    ):
        item.open()


def test_damage_of_any_kind_ends_in_a_sentence(tmp_path):
    rows = [{"bytes": data, "path": None} for data in PICTURES]
    whole = write(tmp_path / "t.parquet", image=rows, tags=[["a"]] * 5, per_group=2).read_bytes()
    for seed in range(60):
        generator = random.Random(seed)
        damaged = bytearray(whole)
        for _ in range(generator.choice([1, 3, 20])):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        (tmp_path / "t.parquet").write_bytes(damaged)
        with suppress(saeviz.SaevizError):
            for item in streamed(tmp_path / "t.parquet").iter_images():
                with suppress(saeviz.ImageError):
                    item.read_bytes()

"""Streamed tables in text: what they say is what they say when they are read whole."""

from __future__ import annotations

import csv
import io
import os
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import saeviz
from saeviz.testing import DividesIntoShardsContract
from saeviz.toolkit import delimited, delimited_stream
from saeviz.toolkit.steady_file import SteadyFile
from saeviz_table import TableOptions
from saeviz_table.streamed import open_table
from tests.hostile_server import picture


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Few bytes and rows are many here."""
    monkeypatch.setattr(delimited_stream, "BYTES_TOGETHER", 60)
    monkeypatch.setattr(delimited_stream, "ROWS_TOGETHER", 3)


@pytest.fixture
def folder(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(picture("red"))
    return tmp_path


class TestStreamedCsv(DividesIntoShardsContract):
    n_images = 5

    @pytest.fixture
    def provider(self, folder):
        rows = "".join(f'{number}.png,{number},"a\ntitle"\n# a comment\n\n' for number in range(5))
        (folder / "t.csv").write_text(f"file,liking,title\n{rows},1,nameless\n")
        return open_table(TableOptions(path=folder / "t.csv", stream=True), saeviz.Context())


def said(path, stream: bool, **options):
    """All that a table says, or why it says nothing."""
    provider = open_table(TableOptions(path=path, stream=stream, **options), saeviz.Context())
    try:
        items = list(provider.iter_images())
        found = [
            (one.item_id, one.source, dict(one.ratings), dict(one.metadata), one.group, one.individual) for one in items
        ]
        single = [provider.get_image(item.item_id) for item in items[::2]]
        assert single == items[::2]
        return found, list(provider.notes())
    except saeviz.SaevizError as error:
        return str(error)
    finally:
        provider.close()


def random_table(seed: int) -> bytes:
    """A table as people have them; some are wrong."""
    made = random.Random(seed)
    delimiter = made.choice(",;\t|")
    decimal = made.choice(".," if delimiter != "," else ".")
    end = made.choice(["\n", "\r\n", "\r"])
    header = ["file", "liking", made.choice(["mood", "mo\u00f6d", ""]), "title"]
    rows = []
    titles = ["", "sea", 'a "quoted" title', f"two{end}lines", "#1", "caf\u00e9", "x" * 70, "\u2028"]
    short = made.random() < 0.2
    for number in range(made.randrange(1, 25)):
        half = f"{number / 2}".replace(".", decimal)
        liking = made.choice(["", "NA", half, "3", "no number" if number > 20 else "4"])
        name = made.choice([f"{number}.png"] * 9 + [""])
        row = [name, liking, made.choice(["", "1", "2"]), made.choice(titles)]
        rows.append(row[: made.choice([3, 4]) if short else 4])
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(header)
    for row in rows:
        text.write(made.choice([""] * 8 + [end, f"# a comment{end}"]))
        writer.writerow(row)
    content = made.choice([""] * 5 + [f"sep={delimiter}{end}", f"# about{end}", end]) + text.getvalue()
    content = content if made.random() < 0.7 else content.removesuffix(end)
    encoding = made.choice(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252", "mac_roman"])
    data = bytearray(content.encode(encoding, "replace"))
    if made.random() < 0.2:
        data[made.randrange(len(data))] = made.choice([0, 34, 0x81, 0xFF, 10])
    return bytes(data)


def test_a_streamed_table_says_the_same_as_one_that_is_read(folder):
    path = folder / "t.csv"
    n_good = 0
    for seed in range(60):
        path.write_bytes(random_table(seed))
        whole = said(path, stream=False)
        assert said(path, stream=True) == whole, seed
        n_good += not isinstance(whole, str)
    assert n_good > 30


def test_parts_begin_where_a_record_begins(folder):
    title = "line,1\n" * 20
    rows = "".join(f'{number}.png,"{title}",{number}\n' for number in range(5))
    (folder / "t.csv").write_text(f"file,title,liking\n{rows}")
    provider = open_table(TableOptions(path=folder / "t.csv", stream=True), saeviz.Context())
    size = 140 + len('0.png,"",0\n')
    assert provider.shards() == [f"t.csv/{18 + size * number}" for number in range(5)]
    assert [[item.item_id for item in provider.iter_shard(name)] for name in provider.shards()] == [
        [f"{number}.png"] for number in range(5)
    ]


def test_one_image_is_found_without_reading_the_other_parts(folder, monkeypatch):
    (folder / "t.csv").write_text("file,liking\n" + "".join(f"{number}.png,{number}\n" for number in range(500)))
    provider = open_table(TableOptions(path=folder / "t.csv", stream=True), saeviz.Context())
    assert provider.get_image("missing.png") is None
    read = []
    whole = SteadyFile.read
    monkeypatch.setattr(SteadyFile, "read", lambda self, part: read.append(part) or whole(self, part))
    assert provider.get_image("321.png").ratings == {"liking": 321.0}
    assert len(read) == 1
    assert len(read[0]) < 100


@pytest.mark.parametrize("data", [b"", b"file,liking\n", b"file,liking\n0.png,1\n1.png,2\n2.png,3\n"])
def test_a_table_that_changes_while_it_is_read_says_so(folder, data):
    path = folder / "t.csv"
    path.write_text("file,liking\n" + "".join(f"{number % 5}.png,{number}\n" for number in range(50)))
    provider = open_table(TableOptions(path=path, stream=True), saeviz.Context())
    items = provider.iter_images()
    next(items)
    path.write_bytes(data)
    with pytest.raises(saeviz.DataError, match=r"t\.csv cannot be read: it has changed since it was first read"):
        list(items)


def test_what_is_no_file_or_no_text(folder, monkeypatch):
    monkeypatch.setattr(delimited, "LONGEST_LINE", 1 << 20)
    os.mkfifo(folder / "pipe.csv")
    (folder / "book.csv").write_bytes(b"PK\x03\x04")
    (folder / "zeros.csv").write_bytes(b"file,liking\n" + bytes(50))
    (folder / "empty.csv").write_bytes(b"")
    (folder / "open.csv").write_bytes(b'file,liking\n"0.png,1\n' + b"1.png,1\n" * 20_000)
    (folder / "long.csv").write_bytes(b"file,liking\n" + b"x" * (2 << 20))
    for name, reason in {
        "pipe.csv": "it is a pipe, not a file",
        "book.csv": "it is an Excel workbook or a ZIP archive",
        "zeros.csv": "it is not a text file",
        "empty.csv": "has no rows",
        "long.csv": "line 2 has more than 1 million characters",
        "open.csv": "in the row that begins in line 2, a quotation mark is not closed, or a cell has more than 131,072",
        "missing.csv": "images.path: no file",
    }.items():
        whole = said(folder / name, stream=False)
        assert reason in whole
        assert said(folder / name, stream=True) == whole


def random_ratings(seed: int) -> list[list[str]]:
    """A table of a row for each image and rater, the rows of an image together."""
    made = random.Random(seed)
    rows = [["file", "rater", "age", "liking", "mood", "year", "artist"]]
    ages = {rater: str(made.randrange(20, 60)) for rater in "abcde"}
    for number in range(made.randrange(1, 9)):
        artist, year = made.choice(["Klee", "Marc", ""]), str(1900 + number)
        for rater in made.choices("abcde", k=made.randrange(1, 12)):
            mood = made.choice(["calm", "wild", ""])
            liking = made.choice(["1", "2,5", "7", "", "NA"])
            name = f"{number}.png" if made.random() < 0.95 else ""
            rows.append([name, rater if made.random() < 0.95 else "", ages[rater], liking, mood, year, artist])
    return rows


def test_ratings_by_raters_are_those_of_a_table_that_is_read(folder):
    path = folder / "t.csv"
    n_raters = 0
    for seed in range(40):
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter=";").writerows(random_ratings(seed))
        options = {"rater_column": "rater", "categories": ("mood",), "min_images": 1, "group_column": "artist"}
        whole = said(path, stream=False, **options)
        assert said(path, stream=True, **options) == whole, seed
        n_raters += any(item[5].get("liking") for item in whole[0])
    assert n_raters > 30


class TestStreamedRaters(DividesIntoShardsContract):
    n_images = 5

    @pytest.fixture
    def provider(self, folder):
        rows = "".join(f"{number}.png,r{rater},{number + rater}\n" for number in range(5) for rater in range(7))
        (folder / "t.csv").write_text(f"file,rater,liking\n{rows}")
        return open_table(TableOptions(path=folder / "t.csv", stream=True, rater_column="rater"), saeviz.Context())


@pytest.mark.parametrize(
    ("rows", "options", "reason"),
    [
        (
            "0.png,a,1\n1.png,a,1\n0.png,b,2\n",
            {},
            r"rows 2 and 4 of .* '0\.png', .* sort the table by 'file', or",
        ),
        (
            "0.png,a,1\n1.png,a,1\n",
            {"item_column": "rater"},
            "rows 2 and 3 .* 'a'; call an image the same in all",
        ),
        ("0.png,a,1\n", {"rater_column": "who"}, r"images\.rater_column: t\.csv has no column 'who'"),
    ],
)
def test_rows_of_an_image_have_to_stand_together(folder, rows, options, reason):
    (folder / "t.csv").write_text("file,rater,liking\n" + rows)
    options = {"rater_column": "rater", **options}
    provider = open_table(TableOptions(path=folder / "t.csv", stream=True, **options), saeviz.Context())
    with pytest.raises(saeviz.SaevizError, match=reason):
        next(provider.iter_images())


@pytest.mark.parametrize("stream", [False, True])
def test_rows_that_name_no_image_have_nothing_in_common(folder, stream):
    rows = "0.png,a,1,Klee\n0.png,b,2,Klee\n,a,1,Marc\n,b,1,Macke\n"
    (folder / "t.csv").write_text("file,rater,liking,artist\n" + rows)
    found, notes = said(folder / "t.csv", stream, rater_column="rater", group_column="artist")
    assert found == [
        ("0.png", folder / "0.png", {"liking": 1.5}, {"artist": "Klee"}, "Klee", {"liking": {"a": 1.0, "b": 2.0}})
    ]
    assert notes == ["2 rows are without an image or an id in t.csv"]


def test_rows_of_an_image_may_go_on_in_the_next_file(folder):
    names = ["0.png", "1.png", "1.png"], ["1.png", "1.png", "2.png"]
    for number, column in enumerate(names):
        columns = {"file": column, "rater": [f"{number}{row}" for row in range(3)], "liking": [1.0, 2.0, 4.0]}
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
    provider = open_table(TableOptions(path=folder, stream=True, rater_column="rater"), saeviz.Context())
    assert {item.item_id: item.ratings["liking"] for item in provider.iter_images()} == {
        "0.png": 1.0,
        "1.png": (2.0 + 4.0 + 1.0 + 2.0) / 4,
        "2.png": 4.0,
    }
    assert [[item.item_id for item in provider.iter_shard(name)] for name in provider.shards()] == [
        ["0.png", "1.png"],
        ["2.png"],
    ]
    pq.write_table(pa.table({**columns, "file": ["2.png", "0.png", "2.png"]}), folder / "1.parquet")
    provider = open_table(TableOptions(path=folder, stream=True, rater_column="rater"), saeviz.Context())
    with pytest.raises(saeviz.DataError, match=r"row 1 of 0 and row 2 of 1 are both about '0\.png', with rows about"):
        next(provider.iter_images())

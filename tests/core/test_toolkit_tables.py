"""Tables as people have them: encodings, delimiters, quotation marks, endings; what is not read is said."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import saeviz
from saeviz.toolkit.tables import is_list, read_list, read_table

ROWS = "file,liked\na.jpg,1\nb.jpg,2\n"
READ = {"file": ["a.jpg", "b.jpg"], "liked": ["1", "2"]}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def columns(tmp_path: Path, content: str | bytes, name: str = "r.csv") -> dict[str, list]:
    return dict(read_table(write(tmp_path / name, content)).columns)


def error(tmp_path: Path, content: str | bytes, name: str = "r.csv") -> str:
    with pytest.raises(saeviz.DataError) as caught:
        read_table(write(tmp_path / name, content))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", "sep=;\nfile;liked\na.jpg;1\nb.jpg;2\n"),
        ("r.csv", '\ufeff"sep=;"\r\nfile;liked\r\na.jpg;1\r\nb.jpg;2\r\n'),
        ("r.csv", "sep=|\nfile|liked\na.jpg|1\nb.jpg|2"),
        ("r.csv", "\n\r\nsep=;\nfile;liked\na.jpg;1\nb.jpg;2\n"),
        ("r.csv", "\n\n  \n,,\nfile,liked\na.jpg,1\n\nb.jpg,2\n\n\n"),
        ("r.csv", "# made by hand\n#\n# on Tuesday, late\nfile,liked\na.jpg,1\n# the better one\nb.jpg,2\n"),
        ("r.csv", "#file,liked\na.jpg,1\nb.jpg,2\n"),
        ("r.csv", "file,liked,,\na.jpg,1,,\nb.jpg,2,,\n"),
        ("r.csv", "file,liked\na.jpg,1,\nb.jpg,2,,\n"),
        ("r.csv", "file,liked,,\na.jpg,1\nb.jpg,2\n"),
        ("r.csv", " file , liked\na.jpg,1\nb.jpg,2\n"),
        ("r.csv", "file\tliked\na.jpg\t1\nb.jpg\t2\n"),
        ("r.csv", "file|liked\na.jpg|1\nb.jpg|2\n"),
        ("r.tsv", ROWS),
        ("r.tab", ROWS.replace(",", "\t")),
        ("r.txt", ROWS.replace(",", "\t")),
        ("r.csv", ROWS.replace("\n", "\r")),
        ("r.csv.gz", gzip.compress(ROWS.encode())),
        ("R.TSV.GZ", gzip.compress(ROWS.replace(",", "\t").encode())),
        ("r.csv", ROWS.encode("utf-16")),
        ("r.csv", ROWS.encode("utf-16-le")),
        ("r.csv", ROWS.encode("utf-16-be")),
        ("r.csv", ROWS.encode("utf-32")),
        ("r.csv", ROWS.encode("utf-8-sig")),
    ],
)
def test_text_is_read_however_it_was_written(tmp_path, name, content):
    assert columns(tmp_path, content, name) == READ


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "jsonl.gz"])
def test_json_lines(tmp_path, ending):
    text = b'{"file_name": "a.jpg", "liked": 1}\n\n{"file_name": "b.jpg", "liked": null, "more": "x"}\n'
    table = read_table(write(tmp_path / f"r.{ending}", gzip.compress(text) if ending.endswith("gz") else text))
    assert table.columns == {"file_name": ["a.jpg", "b.jpg"], "liked": [1, None], "more": [None, "x"]}
    assert list(table.rows) == [1, 3]


def test_a_line_that_is_no_json_is_named(tmp_path):
    assert "line 3 is not a JSON record" in error(tmp_path, '{"a": 1}\n\n{"a": \n', "r.jsonl")
    assert "line 2 is not a record" in error(tmp_path, '{"a": 1}\n[1]\n', "r.jsonl")


def test_a_header_may_hold_any_delimiter_in_quotes_and_some_without(tmp_path):
    header = '"file","liked (1; 2; 3; 4)","calm, in general"\n'
    assert list(columns(tmp_path, header + "a.jpg,1,2\n")) == ["file", "liked (1; 2; 3; 4)", "calm, in general"]
    assert list(columns(tmp_path, "file;liked, or so\na.jpg;3,5\n")) == ["file", "liked, or so"]
    assert list(columns(tmp_path, "file,liked (1;2;3;4)\na.jpg,1\n")) == ["file", "liked (1;2;3;4)"]


def test_cells_may_hold_line_breaks_quotes_and_delimiters(tmp_path):
    found = columns(tmp_path, 'file,title,liked\na.jpg,"one\ntwo, ""three""",1\nb.jpg,5" wide,2\n')
    assert found["title"] == ['one\ntwo, "three"', '5" wide']


def test_rows_are_numbered_by_their_lines(tmp_path):
    table = read_table(write(tmp_path / "r.csv", '# x\n\nfile,title\na.jpg,"one\ntwo"\n\nb.jpg,three\n'))
    assert list(table.rows) == [4, 7]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('file,title,liked\na.jpg,"one,1\nb.jpg,two,2\n', "line 2, a quotation mark is not closed"),
        ('file,title,liked\na.jpg,one,1\n"b.jpg,two,2\nc.jpg,three,3\n', "line 3, a quotation mark is not closed"),
        ('file,title,liked\na.jpg,"one,1\nb.jpg,two",2\n', "a quotation mark in line 2 seems not to be closed"),
        ('file,liked\n"a.jpg,1\nb.jpg",2\nc.jpg,3\n', "a quotation mark in line 2 seems not to be closed"),
        ('file,title,liked\na.jpg,"one" two,1\n', "line 2, a quotation mark is not closed or text follows"),
        ('"file,liked\na.jpg,1\n', "line 1, a quotation mark is not closed"),
        ("file,liked\na.jpg,1\nb.jpg,1,2\n", "line 3 has 3 cells, but the header has 2 columns"),
        ("file,liked,calm\na.jpg,1,2\nb.jpg,1\n", "line 3 has 2 cells, but the header has 3 columns"),
        ("file,liked,calm\nb.jpg,1\na.jpg,1,2\n", "line 2 has 2 cells, but the header has 3 columns"),
        ("file,liked,liked\na.jpg,1,2\n", "two columns are called 'liked'"),
        ("file,caf\u00e9,cafe\u0301\na.jpg,1,2\n", "two columns are called"),
        (b"PK\x03\x04......", "an Excel workbook or a ZIP archive; save it as CSV"),
        (gzip.compress(b"file"), "compressed with gzip; let its name end in .gz"),
        (b"PAR1....", "let its name end in .parquet"),
        ("<!DOCTYPE html><html></html>", "a web page"),
        (bytes(range(256)) * 4, "cannot be read"),
        ("file,liked\nä.jpg,1\nöü.jpg,2\n".encode() + b"caf\xe9.jpg,3\n", "line 4 is not valid UTF-8"),
        ("ファイル,好き\nあ.jpg,1\n".encode("shift_jis"), "its encoding is unknown"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(tmp_path, content, says):
    assert says in error(tmp_path, content)


@pytest.mark.parametrize(
    ("encoding", "said"), [("latin-1", "Windows-1252"), ("cp1252", "Windows-1252"), ("mac_roman", "Mac Roman")]
)
def test_an_old_encoding_is_read_with_a_note(tmp_path, encoding, said):
    table = read_table(write(tmp_path / "r.csv", "file,Schönheit\ncafé.jpg,1\n".encode(encoding)))
    assert table.columns == {"file": ["café.jpg"], "Schönheit": ["1"]}
    assert table.notes == [f"r.csv is not UTF-8; it was read as {said}" + (" (Latin-1)" if "1252" in said else "")]


@pytest.mark.parametrize(
    ("ending", "step"),
    [
        ("xlsx", "spreadsheet"),
        ("xls", "spreadsheet"),
        ("ods", "spreadsheet"),
        ("sav", "SPSS"),
        ("dta", "Stata"),
        ("rds", "write.csv"),
        ("feather", "Parquet"),
        ("pkl", "pickles are never opened"),
        ("sqlite", 'images.use = "sql"'),
        ("csv.zip", "unpack it"),
        ("csv.bz2", "unpack it"),
        ("docx", "save it as CSV"),
        ("gz", "save it as CSV"),
    ],
)
def test_an_unknown_kind_says_what_to_do(tmp_path, ending, step):
    message = error(tmp_path, b"whatever", f"r.{ending}")
    assert message.startswith(f"images.ratings: {tmp_path}/r.{ending} is not a table of a known kind (.csv, ")
    assert step in message
    if ending != "gz":
        assert not is_list(tmp_path / f"r.{ending}", "images.path")


def test_a_packed_table_that_is_cut_or_too_large_is_refused(tmp_path, monkeypatch):
    packed = gzip.compress(ROWS.encode() * 1000)
    assert "cannot be read" in error(tmp_path, packed[:40], "r.csv.gz")
    assert "cannot be read" in error(tmp_path, b"\x1f\x8b\x08\0" + b"x" * 40, "r.csv.gz")
    monkeypatch.setattr("saeviz.toolkit.table_text.MOST_UNPACKED", 1000)
    assert "when decompressed" in error(tmp_path, packed, "r.csv.gz")


def test_a_pipe_is_no_table(tmp_path):
    for name in ("r.csv", "r.parquet", "r.txt"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(saeviz.DataError, match="it is a pipe, not a file"):
            read_table(tmp_path / name)
    assert is_list(tmp_path / "r.txt", "images.path")
    with pytest.raises(saeviz.DataError, match="it is a pipe, not a file"):
        read_list(tmp_path / "r.txt", "images.path")


@pytest.mark.parametrize(
    ("name", "content", "a_list"),
    [
        ("r.txt", "a.jpg\nb.jpg\n", True),
        ("r.txt", "# first\nholiday, 2019.jpg\nb.jpg\n", True),
        ("r.lst", "https://example.org/a?x=1,2;3\n", True),
        ("names", "a.jpg\n", True),
        ("r.txt", "file\tliked\na.jpg\t1\n", False),
        ("r.txt", "file,liked\na.jpg,1\n", False),
        ("r.txt", '"image";"liked"\na.jpg;1\n', False),
        ("r.csv", "a.jpg\n", False),
        ("r.jsonl", "a.jpg\n", False),
    ],
)
def test_a_list_is_told_from_a_table(tmp_path, name, content, a_list):
    assert is_list(write(tmp_path / name, content), "images.path") is a_list


def test_of_parquet_only_single_values_are_read(tmp_path):
    table = pa.table(
        {
            "file": ["a.jpg", "b.jpg"],
            "liked": [1.5, None],
            "embedding": [[0.1] * 768] * 2,
            "fixed": pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float32(), 2)),
            "image": [{"bytes": b"secret", "path": "a.jpg"}] * 2,
            "about": [{"by": "x"}] * 2,
            "raw": [b"secret"] * 2,
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "when": pa.array([0, 1], pa.timestamp("ns")),
            "Scho\u0308nheit": [1, 2],
        }
    )
    parquet.write_table(table, tmp_path / "r.parquet")
    found = read_table(tmp_path / "r.parquet")
    assert list(found.columns) == ["file", "liked", "kind", "when", "Schönheit"]
    assert found.unread == {
        **dict.fromkeys(("embedding", "fixed"), "lists"),
        "image": "pictures",
        "about": "structures",
        "raw": "bytes",
    }
    assert "'embedding' (lists)" in found.notes[0]
    assert found.column("Scho\u0308nheit", "rating_columns") == [1, 2]
    with pytest.raises(saeviz.ConfigError, match=r"'image' of r\.parquet holds pictures.*images\.stream = true"):
        found.column("image", "image_column")
    with pytest.raises(saeviz.ConfigError, match=r"'embedding' of r\.parquet holds lists"):
        found.column("embedding", "rating_columns")


def test_embeddings_in_parquet_take_no_memory(tmp_path):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([0.5] * 768 * 2000, pa.float32()), 768)
    files = [f"{number}.jpg" for number in range(2000)]
    parquet.write_table(pa.table({"file": files, "vector": vectors}), tmp_path / "r.parquet")
    del vectors
    pool = pa.system_memory_pool()
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        assert list(read_table(tmp_path / "r.parquet").columns) == ["file"]
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < 768 * 2000 * 4


def test_of_json_only_single_values_are_read(tmp_path):
    rows = [{"file": "a.jpg", "image": {"bytes": "secret", "path": "x"}, "tags": ["a"], "some": [1]}, {"some": 3}]
    found = read_table(write(tmp_path / "r.json", json.dumps(rows)))
    assert found.unread == {"image": "pictures", "tags": "lists"}
    assert list(found.columns) == ["file", "some"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.json", '[{"file": "a.jpg", "liked": 1, "liked": 2}]'),
        ("r.jsonl", '{"file": "a.jpg", "liked": 1, "liked": 2}\n'),
        ("r.json", '{"file": ["a.jpg"], "liked": [1], "liked": [2]}'),
    ],
)
def test_two_values_of_one_name_in_json_are_an_error(tmp_path, name, content):
    assert "two values called 'liked'" in error(tmp_path, content, name)


def test_names_that_only_look_alike_are_the_same_in_json(tmp_path):
    assert "two columns are called 'caf\u00e9'" in error(tmp_path, '[{"caf\u00e9": 1, "cafe\u0301": 2}]', "r.json")


def test_of_columns_that_differ_in_case_the_exact_name_is_taken(tmp_path):
    for header in ("file,File", "File,file"):
        table = read_table(write(tmp_path / "r.csv", f"{header},liked\na.jpg,b.jpg,1\n"))
        assert table.find(["file"], "file_column", "the images") == "file"
    table = read_table(write(tmp_path / "r.csv", "File,FILE,liked\na.jpg,b.jpg,1\n"))
    assert table.find(["file"], "file_column", "the images") == "File"

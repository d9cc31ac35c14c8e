"""Categories, labels and ordered levels as targets: what becomes of the cells of a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

import saeviz
from saeviz.toolkit.column_options import ColumnOptions
from saeviz.toolkit.levels import labels
from saeviz.toolkit.raters import long_rows
from saeviz.toolkit.ratings import choose, choose_rating_columns, non_numbers
from saeviz.toolkit.table_rows import JoinColumns, wide_rows
from saeviz.toolkit.tables import read_table


def of(columns, taken=(), **options):
    """The columns as they are chosen, and the ratings of each record."""
    chosen = choose(columns, None, taken, "t.csv", options=ColumnOptions(**{"min_images": 1, **options}))
    n = len(next(iter(columns.values())))
    return chosen, [chosen.split({name: cells[row] for name, cells in columns.items()})[0] for row in range(n)]


def test_a_target_for_each_level_is_absent_where_another_is_and_missing_where_the_cell_is():
    chosen, ratings = of({"emotion": ["joy", "fear", "", "joy", None, "NA"]}, categories=["emotion"])
    joy, fear = {"emotion=joy": 1.0, "emotion=fear": 0.0}, {"emotion=joy": 0.0, "emotion=fear": 1.0}
    assert ratings == [joy, fear, {}, joy, {}, {}]
    assert chosen.metadata == ["emotion"]
    assert not chosen.notes


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ([1, 2, 1.0, "1"], ["k=1", "k=2"]),
        ([True, False, None], ["k=True", "k=False"]),
        (["a=b", "a\nb", "a  b"], ["k=a=b", "k=a b"]),
        (["Café", "Cafe\u0301", "\U0001f408"], ["k=Café", "k=\U0001f408"]),
        (["<b>x</b>", "../etc", "%s {0}"], ["k=<b>x</b>", "k=../etc", "k=%s {0}"]),
        (["none", "None", "?", "-"], ["k=none", "k=None", "k=?", "k=-"]),
        (["a;b", "a"], ["k=a;b", "k=a"]),
        ([2.5, "2,5"], ["k=2.5", "k=2,5"]),
        ([[1], "a", {"b": 1}], ["k=a"]),
    ],
)
def test_levels_are_the_cells_as_text_on_one_line(cells, names):
    chosen, ratings = of({"k": [*cells, "other"]}, categories=["k"])
    assert [name for levels in chosen.levels for name in levels.names.values() if name != "k=other"] == names
    assert all(sum(found.values()) == 1 for found in ratings if found)


def test_codes_of_categories_are_no_ratings_unless_named():
    columns = {"kind": [1, 2, 1, 3], "liked": [1, 2, 3, 4.5]}
    chosen, _ = of(columns, categories=["kind"])
    assert (list(chosen.ratings), chosen.metadata) == (["liked"], ["kind"])
    both = choose(columns, ["kind"], (), "t.csv", options=ColumnOptions(categories=["kind"], min_images=1))
    assert both.split({"kind": 2, "liked": 1})[0] == {"kind": 2.0, "kind=1": 0.0, "kind=2": 1.0, "kind=3": 0.0}


def test_levels_with_too_few_images_are_counted_in_one_sentence():
    cells = ["joy"] * 5 + ["fear"] * 3 + [f"rare {n}" for n in range(20)]
    chosen, ratings = of({"emotion": cells}, categories=["emotion"], min_images=3)
    assert list(ratings[-1]) == ["emotion=joy", "emotion=fear"]
    assert set(ratings[-1].values()) == {0.0}
    assert chosen.notes == [
        "t.csv: 20 of 22 levels of 'emotion' are not targets, because fewer than 3 images have or lack them "
        f"(images.min_images): {', '.join(repr(f'rare {n}') for n in range(12))} and 8 more"
    ]


def test_a_level_that_nearly_all_images_have_is_left_out_too():
    chosen, ratings = of({"k": ["a"] * 9 + ["b"], "x": [1.5] * 10}, categories=["k"], min_images=2)
    assert ratings == [{"x": 1.5}] * 10
    assert "2 of 2 levels of 'k' are not targets" in chosen.notes[0]
    chosen, _ = of({"k": ["a"] * 9 + ["b", "b"]}, multi_labels=["k"], min_images=3)
    assert "2 of 2" in chosen.notes[0]


def test_ten_images_by_default():
    chosen = choose({"k": ["a"] * 10 + ["b"] * 9}, None, (), "t.csv", options=ColumnOptions(categories=("k",)))
    assert [list(levels.names) for levels in chosen.levels] == [[]]
    chosen = choose({"k": ["a"] * 10 + ["b"] * 10}, None, (), "t.csv", options=ColumnOptions(categories=("k",)))
    assert [list(levels.names) for levels in chosen.levels] == [["a", "b"]]


def test_ten_thousand_levels():
    cells = [f"id {n}" for n in range(10_000)] + ["often"] * 10
    chosen, ratings = of({"k": cells}, categories=["k"], min_images=10)
    assert ratings[0] == {"k=often": 0.0}
    assert "10000 of 10001 levels of 'k' are not targets" in chosen.notes[0]
    assert len(chosen.notes[0]) < 400


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a;b", {"a", "b"}),
        (" a ; b;a ; ", {"a", "b"}),
        ("a, b", {"a, b"}),
        ("", None),
        (None, None),
        (float("nan"), None),
        ("NA", None),
        (";", None),
        ([], set()),
        ((), set()),
        (np.array([]), set()),
        ("[]", set()),
        ('["a", "b;c"]', {"a", "b;c"}),
        ("[a]", {"[a]"}),
        (["a", None, "a", " b "], {"a", "b"}),
        ([None], None),
        ([1, 1.0, True], {"1", "True"}),
        ([["a"], {"b": 1}, "c"], {"c"}),
        (7, {"7"}),
    ],
)
def test_the_labels_in_a_cell(cell, expected):
    assert labels(cell) == (None if expected is None else frozenset(expected))


def test_a_list_that_nests_without_end_is_text():
    cell = "[" * 100_000 + "]"
    assert labels(cell) == frozenset([cell])


def test_an_empty_list_has_none_of_the_labels_and_an_empty_cell_is_missing():
    _, ratings = of({"tags": [["sky", "sea"], ["sea"], [], None, ""]}, multi_labels=["tags"])
    assert ratings[1] == {"tags=sky": 0.0, "tags=sea": 1.0}
    assert ratings[0] == {"tags=sky": 1.0, "tags=sea": 1.0}
    assert ratings[2] == {"tags=sky": 0.0, "tags=sea": 0.0}
    assert ratings[3] == ratings[4] == {}


def test_the_order_of_labels_in_a_cell_changes_nothing():
    one = of({"tags": ["b;a;c", "c"]}, multi_labels=["tags"])
    other = of({"tags": ["c;a;b", "c"]}, multi_labels=["tags"])
    assert list(one[1][0]) == list(other[1][0])


def test_ordered_levels_are_numbers_from_0():
    columns = {"mood": ["high", " low", "mid", "", "LOW", "none"]}
    chosen, ratings = of(columns, ordinals={"mood": ["low", "mid", "high"]})
    assert ratings == [{"mood": 2.0}, {"mood": 0.0}, {"mood": 1.0}, {}, {}, {}]
    assert chosen.metadata == []
    (note,) = non_numbers("mood", chosen.ratings["mood"], columns["mood"], "t.csv", range(2, 8))
    assert note == "t.csv: 1 value of 'mood' is not one of its levels and counts as missing: 'LOW' in row 6"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categories": ["k"], "multi_labels": ["k"]}, "'k' is in categories and in multi_labels"),
        ({"ordinals": {"k": ["a", "b"]}, "rating_columns": ["k"]}, "'k' is in ordinals and in rating_columns"),
        ({"ordinals": {"k": ["a"]}}, "ordinals: 'k' needs two levels or more"),
        ({"ordinals": {"k": ["a", " a"]}}, "no two of them the same"),
        ({"min_images": 0}, "greater than or equal to 1"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ValidationError, match=message):
        ColumnOptions(**options)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"k": ["", None]}, {"categories": ["k"]}, r"images\.categories: 'k' of t\.csv has no values"),
        ({"k": [None]}, {"multi_labels": ["k"]}, r"images\.multi_labels: 'k' of t\.csv has no values"),
        ({"k": ["x"]}, {"ordinals": {"k": ["a", "b"]}}, r"images\.ordinals: no value of 'k' .* its first value is 'x'"),
        ({"k": [""]}, {"ordinals": {"k": ["a", "b"]}}, "it has no values"),
        (
            {"a": ["b=c", "x"], "a=b": ["c", "x"]},
            {"categories": ["a", "a=b"]},
            "two targets or columns of t.csv are called 'a=b=c'",
        ),
        ({"a": ["b", "c"], "a=b": [1, 2]}, {"categories": ["a"]}, "are called 'a=b'; rename a column"),
    ],
)
def test_columns_that_cannot_be_targets(columns, options, message):
    with pytest.raises(saeviz.ConfigError, match=message):
        of(columns, **options)


ROWS = [{"file": f"{n}.jpg", "tags": tags, "vector": [0.1] * 9} for n, tags in enumerate([["a", "b"], [], None, ["b"]])]


def write_json(path: Path) -> None:
    path.write_text(json.dumps(ROWS), encoding="utf-8")


def write_lines(path: Path) -> None:
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")


def write_columns(path: Path) -> None:
    path.write_text(json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}), encoding="utf-8")


def write_parquet(path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [("t.json", write_json), ("t.jsonl", write_lines), ("u.json", write_columns), ("t.parquet", write_parquet)],
)
def test_lists_are_read_where_they_are_labels(tmp_path, name, write):
    write(tmp_path / name)
    table = read_table(tmp_path / name, lists=["tags"])
    assert table.notes == [f"{name}: not read, because they are not single values: 'vector' (lists)"]
    options = ColumnOptions(multi_labels=("tags",), min_images=1)
    join = JoinColumns("file", None, None)
    rows = list(wide_rows(table, join, choose_rating_columns(table, None, {"file"}, options)))
    assert [row.ratings for row in rows] == [
        {"tags=a": 1.0, "tags=b": 1.0},
        {"tags=a": 0.0, "tags=b": 0.0},
        {},
        {"tags=a": 0.0, "tags=b": 1.0},
    ]
    assert "tags" in read_table(tmp_path / name).unread


def test_columns_are_found_in_any_form_of_their_name(tmp_path):
    (tmp_path / "t.csv").write_text("file,cafe\u0301\na.jpg,x\nb.jpg,y\n", encoding="utf-8")
    options = ColumnOptions(categories=("caf\u00e9",), min_images=1, group_column="cafe\u0301")
    table = read_table(tmp_path / "t.csv")
    rows = list(
        wide_rows(table, JoinColumns("file", None, None), choose_rating_columns(table, None, {"file"}, options))
    )
    assert [row.ratings for row in rows] == [{"café=x": 1.0, "café=y": 0.0}, {"café=x": 0.0, "café=y": 1.0}]
    assert [row.group for row in rows] == ["x", "y"]


@pytest.mark.parametrize("option", ["categories", "multi_labels", "group_column", "ordinals"])
def test_a_misspelt_column_is_named_with_its_option(tmp_path, option):
    (tmp_path / "t.csv").write_text("file,emotion\na.jpg,x\n", encoding="utf-8")
    value = {"ordinals": {"emotoin": ("a", "b")}, "group_column": "emotoin"}.get(option, ("emotoin",))
    with pytest.raises(saeviz.ConfigError, match=rf"images\.{option}: t\.csv has no column 'emotoin'; did you mean"):
        choose_rating_columns(read_table(tmp_path / "t.csv"), None, {"file"}, ColumnOptions(**{option: value}))


def long(tmp_path, text, **options):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    table, join = read_table(tmp_path / "t.csv"), JoinColumns("file", None, "rater")
    images = list(table.columns["file"])
    chosen = choose_rating_columns(table, None, {"file", "rater"}, ColumnOptions(**options), images)
    rows, _, notes = long_rows(table, join, chosen, chosen=False)
    return rows, [*chosen.notes, *notes]


def test_what_each_rater_calls_an_image_becomes_the_share_of_raters_who_do(tmp_path):
    text = "file,rater,emotion\na,x,joy\na,y,fear\nb,x,joy\nb,y,joy\nc,x,\nc,y,fear\n"
    rows, notes = long(tmp_path, text, categories=("emotion",), min_images=1)
    assert [row.ratings["emotion=joy"] for row in rows] == [0.5, 1.0, 0.0]
    assert [row.individual["emotion=joy"] for row in rows] == [{"x": 1.0, "y": 0.0}, {"x": 1.0, "y": 1.0}, {"y": 0.0}]
    assert notes == ["t.csv: emotion differs between rows of an image and cannot be metadata"]


def test_a_category_of_the_image_has_no_raters(tmp_path):
    rows, _ = long(tmp_path, "file,rater,kind\na,x,cat\na,y,cat\nb,x,dog\nb,y,\n", categories=("kind",), min_images=1)
    assert [row.ratings for row in rows] == [{"kind=cat": 1.0, "kind=dog": 0.0}, {"kind=cat": 0.0, "kind=dog": 1.0}]
    assert [row.individual for row in rows] == [{}, {}]
    assert [row.metadata for row in rows] == [{"kind": "cat"}, {"kind": "dog"}]


def test_levels_are_counted_by_images_not_by_rows(tmp_path):
    text = "file,rater,k\n" + "".join(f"{image},{rater},{image}\n" for image in "ab" for rater in range(20))
    rows, notes = long(tmp_path, text, categories=("k",))
    assert [row.ratings for row in rows] == [{}, {}]
    assert "2 of 2 levels of 'k' are not targets, because fewer than 10 images" in notes[0]


def test_every_image_may_have_raters_who_differ(tmp_path):
    text = "file,rater,k\n" + "".join(f"{n},{rater},{rater}\n" for n in range(10) for rater in "xy")
    rows, notes = long(tmp_path, text, categories=("k",))
    assert rows[0].ratings == {"k=x": 0.5, "k=y": 0.5}
    assert not [note for note in notes if "min_images" in note]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 1], "binary"),
        ([0, 1, np.nan, np.inf], "binary"),
        ([1, 1], "binary"),
        ([0, 1, 2], "numeric"),
        ([0, 0.5, 1], "numeric"),
        ([1, 2], "numeric"),
        ([np.nan], "numeric"),
        ([], "numeric"),
        ([True, False], "binary"),
    ],
)
def test_a_target_says_by_its_values_what_kind_it_is(values, kind):
    assert saeviz.target_kind(np.array(values)) == kind

"""The image provider `folder` with a table that has a row for each image and rater."""

from __future__ import annotations

import json
import random
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

import saeviz
from saeviz.testing import ImageProviderContract
from saeviz_folder import FolderOptions
from saeviz_folder.provider import FolderImages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / name)
    return tmp_path / "images"


def provide(folder: Path, rows: str, name: str = "r.csv", **options) -> FolderImages:
    table = folder.parent / name
    table.write_text(rows, encoding="utf-8")
    given = {"rater_column": "rater", **options}
    return FolderImages(FolderOptions(path=folder, ratings=table, **given), saeviz.Context())


class TestContract(ImageProviderContract):
    n_images = 3

    @pytest.fixture
    def provider(self, folder):
        (folder / "c.jpg").write_bytes(b"not a picture")
        return provide(folder, "file,rater,liking\na.jpg,x,1\nb.jpg,x,2\na.jpg,y,3\nb.jpg,z,\n")


def test_a_rating_is_the_mean_over_its_raters_who_are_kept(folder):
    provider = provide(folder, "file,rater,liking,calm\na.jpg,x,1,5\nb.jpg,x,4,2\na.jpg,y,2,6\na.jpg,12,6,\n")
    a, b = provider.get_image("a.jpg"), provider.get_image("b.jpg")
    assert a.ratings == {"liking": 3.0, "calm": 5.5}
    assert a.individual == {"liking": {"x": 1.0, "y": 2.0, "12": 6.0}, "calm": {"x": 5.0, "y": 6.0}}
    assert (b.ratings, b.individual) == ({"liking": 4.0, "calm": 2.0}, {"liking": {"x": 4.0}, "calm": {"x": 2.0}})
    assert provider.get_image("c.jpg").individual == {}
    assert provider.notes() == ["1 image has no row in r.csv: c.jpg"]


def test_the_order_of_rows_changes_no_number(folder):
    rows = [f"{name}.jpg,{rater},{n * n % 7}" for n, (name, rater) in enumerate(product("abc", "xyz"))]
    shuffled = random.Random(1).sample(rows, len(rows))
    one, other = (
        provide(folder, "\n".join(["file,rater,liking", *order]), name)
        for name, order in (("one.csv", rows), ("other.csv", shuffled))
    )
    items = list(one.iter_images())
    assert sum(bool(item.individual) for item in items) == 3
    for item in items:
        same = other.get_image(item.item_id)
        assert same.ratings == pytest.approx(item.ratings)
        assert same.individual == item.individual


def test_who_rates_an_image_twice_counts_once_and_that_is_said(folder):
    provider = provide(folder, "file,rater,liking\na.jpg,x,1\na.jpg,x,\na.jpg,y,5\nb.jpg,y,3\na.jpg,x,3\n")
    item = provider.get_image("a.jpg")
    assert item.individual == {"liking": {"x": 2.0, "y": 5.0}}
    assert item.ratings == {"liking": 3.5}
    (note,) = [note for note in provider.notes() if "by the same rater" in note]
    assert note.startswith("r.csv: 1 row with another rating of an image")
    assert note.endswith("row 6")


def test_a_rating_without_a_rater_is_left_out_and_that_is_said(folder):
    provider = provide(folder, "file,rater,liking\na.jpg,x,1\na.jpg, ,9\nb.jpg,,\nc.jpg,nan,2\n")
    assert provider.get_image("a.jpg").ratings == {"liking": 1.0}
    assert [item.item_id for item in provider.iter_images(filter_labeled=True)] == ["a.jpg"]
    assert provider.notes() == ["r.csv: 2 rows with a rating but no rater: left out; the first is row 3"]


def test_metadata_is_what_all_rows_of_an_image_agree_on(folder):
    provider = provide(
        folder,
        "file,rater,liking,theme,trial,when\na.jpg,x,1,sea,one,am\nb.jpg,x,2,sky,two,\na.jpg,y,3,,three,am\n",
    )
    assert provider.get_image("a.jpg").metadata == {"theme": "sea", "when": "am"}
    assert provider.get_image("b.jpg").metadata == {"theme": "sky"}
    assert "r.csv: trial differs between rows of an image and cannot be metadata" in provider.notes()


def test_what_is_known_of_a_rater_or_of_an_image_is_told_from_what_raters_say(folder):
    rows = "file,rater,liking,age,brightness\n" + "".join(
        f"{name}.jpg,{rater},{rating},{age},{ord(name)}\n"
        for name in "abc"
        for rater, rating, age in (("x", 1, 30), ("y", ord(name) - 95, 40))
    )
    provider = provide(folder, rows)
    item = provider.get_image("b.jpg")
    assert item.ratings == {"liking": 2.0, "brightness": 98.0}
    assert list(item.individual) == ["liking"]
    assert any("constant within each rater: age" in note for note in provider.notes())
    named = provide(folder, rows, rating_columns=("age", "brightness")).get_image("b.jpg")
    assert named.ratings == {"age": 35.0, "brightness": 98.0}
    assert named.individual == {"age": {"x": 30.0, "y": 40.0}, "brightness": {"x": 98.0, "y": 98.0}}


def test_cells_that_are_no_numbers_are_missing_and_named_by_their_row(folder):
    provider = provide(folder, "file,rater,liking\na.jpg,x,1\na.jpg,y,good\na.jpg,z,inf\nb.jpg,y,2\nc.jpg,x,3\n")
    assert provider.get_image("a.jpg").individual == {"liking": {"x": 1.0}}
    assert provider.notes() == [
        "r.csv: 2 values of 'liking' are not finite numbers and count as missing, first 'good' in row 3"
    ]


def test_items_may_be_named_by_an_id_and_raters_by_anything(folder):
    cells = [{"id": "a", "who": who, "liking": n} for n, who in enumerate([1, 1.5, True, "é", ["x"], "../x"])]
    provider = provide(folder, json.dumps(cells), "r.json", item_column="id", rater_column="who")
    assert provider.get_image("a").individual["liking"] == {
        "1": 0.0,
        "1.5": 1.0,
        "True": 2.0,
        "é": 3.0,
        "['x']": 4.0,
        "../x": 5.0,
    }


def test_names_that_fit_no_image_are_counted_once(folder):
    provider = provide(folder, "file,rater,liking\na.jpg,x,1\nq.jpg,x,1\nq.jpg,y,2\nb.jpg,x,2\nc.jpg,x,2\n")
    assert provider.notes() == ["1 name in r.csv fits no image: 'q.jpg' (row 3)"]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ("file,who,liking\na.jpg,x,1\n", {}, "images.rater_column: r.csv has no column 'rater'; it has"),
        ("file,raters,liking\na.jpg,x,1\n", {}, "did you mean 'raters'?"),
        ("file,rater,liking\na.jpg,x,1\n./a.jpg,y,2\n", {}, "call an image the same in all of its rows"),
        ("file,rater,liking\na.jpg,x,1\na.jpg,y,2\n", {"rater_column": None}, "images.rater_column"),
        ("file,rater,liking\na.jpg,x,-\n", {"rating_columns": ("liking",)}, "'liking' of r.csv has no numbers"),
    ],
)
def test_a_mistake_is_named_with_the_next_step(folder, rows, options, message):
    with pytest.raises(saeviz.SaevizError) as caught:
        list(provide(folder, rows, **options).iter_images())
    assert message in str(caught.value)


def test_an_image_has_the_group_of_its_rows(folder):
    rows = "file,rater,liking,artist\na.jpg,x,1,Ann\na.jpg,y,2,\nb.jpg,x,3,\nc.jpg,y,3,Bob\n"
    items = provide(folder, rows, group_column="artist").iter_images()
    assert {item.item_id: item.group for item in items} == {"a.jpg": "Ann", "b.jpg": None, "c.jpg": "Bob"}


def test_an_image_in_two_groups_is_refused(folder):
    provider = provide(folder, "file,rater,liking,artist\na.jpg,x,1,Ann\na.jpg,y,2,Bob\n", group_column="artist")
    with pytest.raises(saeviz.DataError, match=r"rows 2 and 3 of r\.csv are about one image, but 'artist' is 'Ann' in"):
        provider.notes()

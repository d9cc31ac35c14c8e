"""The image provider `folder`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import saeviz
from saeviz.testing import ImageProviderContract
from saeviz_folder import FolderOptions
from saeviz_folder.provider import FolderImages

COLUMNS = ["file", "liking", "title"]
ROWS = [["a.jpg", 1.5, "first"], ["sub/c.gif", 2, "third"]]
OASIS = Path(__file__).parents[2].parent / "shared" / "oasis"


def draw(folder: Path, *names: str) -> None:
    """Small pictures with these names, each of its own colour."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ending = path.suffix.lower().lstrip(".")
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(ending, ending)
        Image.new("RGB", (8, 6), (40 * number % 256, 90, 120)).save(path, kind)


def provide(path: Path, **options) -> FolderImages:
    return FolderImages(FolderOptions(path=path, **options), saeviz.Context())


def ids(provider: FolderImages) -> list[str]:
    return [item.item_id for item in provider.iter_images()]


def ratings(provider: FolderImages) -> dict[str, dict[str, float]]:
    return {item.item_id: dict(item.ratings) for item in provider.iter_images()}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def three(tmp_path):
    """Three pictures in a folder `images`."""
    draw(tmp_path / "images", "a.jpg", "b.png", "sub/c.gif")
    return tmp_path / "images"


class TestContract(ImageProviderContract):
    n_images = 5

    @pytest.fixture
    def provider(self, tmp_path):
        draw(tmp_path, "a.jpg", "b.png", "sub dir/a.jpg", "sub dir/\u732b's.webp")
        (tmp_path / "broken.jpg").write_bytes(b"not a picture")
        table = write(tmp_path / "r.csv", "file,liking,title\na.jpg,1.5,one\nsub dir/a.jpg,2,two\nb.png,,three\n")
        return provide(tmp_path, ratings=table)


class TestContractByItemId(ImageProviderContract):
    n_images = 3

    @pytest.fixture
    def provider(self, three):
        table = write(three.parent / "r.csv", "id,liking\na,1\nc,3\n")
        return provide(three, ratings=table, item_column="id")


def test_finds_images_of_every_kind_in_the_whole_tree(tmp_path):
    names = ["1.jpg", "2.jpeg", "3.PNG", "4.webp", "5.gif", "6.Bmp", "deep/7.tiff", "deep/er/8.tif"]
    draw(tmp_path, *names, ".hidden.jpg", ".hidden/x.jpg")
    write(tmp_path / "readme.txt", "no picture")
    (tmp_path / "folder.jpg").mkdir()
    provider = provide(tmp_path)
    assert ids(provider) == names
    assert [item.open().size for item in provider.iter_images()] == [(8, 6)] * len(names)
    assert provider.notes() == [
        "2 hidden folders or images left out: .hidden, .hidden.jpg",
        "1 file that is not an image was passed over: 1 .txt",
    ]


def test_links_are_followed_and_loops_are_survived(tmp_path):
    draw(tmp_path / "images", "a.jpg")
    draw(tmp_path / "elsewhere", "b.jpg")
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert ids(provide(tmp_path / "images")) == ["a.jpg", "other/b.jpg"]


def test_a_name_that_is_not_utf8_gives_an_id_that_is(tmp_path):
    draw(tmp_path, "plain.jpg")
    (tmp_path / "plain.jpg").rename(tmp_path / os.fsdecode(b"caf\xe9.jpg"))
    (item,) = provide(tmp_path).iter_images()
    assert item.item_id == "caf\\xe9.jpg"
    assert item.open().size == (8, 6)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", "file,liking,title\na.jpg,1.5,first\nsub/c.gif,2,third\n"),
        ("r.CSV", "\ufefffile,liking,title\r\na.jpg,1.5,first\r\nsub/c.gif,2,third\r\n"),
        ("r.csv", 'file;liking;title\n"a.jpg";1.5;"first"\nsub/c.gif;2;third'),
        ("r.tsv", "file\tliking\ttitle\na.jpg\t1.5\tfirst\nsub/c.gif\t2\tthird\n"),
        ("r.json", json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in ROWS])),
        ("r.json", json.dumps(dict(zip(COLUMNS, zip(*ROWS, strict=True), strict=True)))),
        ("r.json", pd.DataFrame(ROWS, columns=COLUMNS).to_json()),
    ],
)
def test_reads_every_kind_of_table(three, name, content):
    provider = provide(three, ratings=write(three / name, content))
    assert ratings(provider) == {"a.jpg": {"liking": 1.5}, "b.png": {}, "sub/c.gif": {"liking": 2.0}}
    assert provider.get_image("sub/c.gif").metadata == {"title": "third"}
    assert [item.item_id for item in provider.iter_images(filter_labeled=True)] == ["a.jpg", "sub/c.gif"]


def test_reads_parquet(three):
    frame = pd.DataFrame({"id": [1, 2], "file": ["a.jpg", "b.png"], "liking": [1.5, None], "n": [3, 4]}, index=[7, 8])
    frame.to_parquet(three / "r.parquet")
    provider = provide(three, ratings=three / "r.parquet")
    assert ratings(provider) == {"a.jpg": {"liking": 1.5, "n": 3.0}, "b.png": {"n": 4.0}, "sub/c.gif": {}}
    assert provider.get_image("b.png").metadata["id"] == "2"


def test_a_table_in_an_old_encoding_is_read_and_that_is_said(three):
    (three / "r.csv").write_bytes("file,liking,title\na.jpg,1,Café\n".encode("latin-1"))
    provider = provide(three, ratings=three / "r.csv")
    assert provider.get_image("a.jpg").metadata == {"title": "Café"}
    assert any("not UTF-8" in note for note in provider.notes())


def test_files_are_looked_up_from_the_table_then_from_the_folder(tmp_path):
    draw(tmp_path / "images", "a.jpg", "b.jpg")
    draw(tmp_path / "tables", "a.jpg")
    draw(tmp_path / "more", "c.jpg")
    table = write(
        tmp_path / "tables" / "r.csv", "file,liking\na.jpg,1\nb.jpg,2\n../more/c.jpg,3\n..\\images\\a.jpg,4\n"
    )
    assert ratings(provide(tmp_path / "images", ratings=table)) == {
        "a.jpg": {"liking": 4.0},
        "b.jpg": {"liking": 2.0},
        "../tables/a.jpg": {"liking": 1.0},
        "../more/c.jpg": {"liking": 3.0},
    }


def test_only_what_ends_like_an_image_is_taken_for_one(three):
    write(three.parent / "secret.txt", "secret")
    cells = ["a.jpg", "../secret.txt", "/etc/passwd", "nul\\u0000.jpg", "x" * 5000 + ".jpg", "."]
    rows = ", ".join(f'{{"file": "{cell}", "liking": 1}}' for cell in cells)
    provider = provide(three, ratings=write(three / "r.json", f"[{rows}]"))
    assert ids(provider) == ["a.jpg", "b.png", "sub/c.gif"]
    assert any(note.startswith("5 rows of r.json fit no image: '../secret.txt' (row 2)") for note in provider.notes())


@pytest.mark.parametrize("item_id", ["sub/c.gif", "sub/c", "c.gif", "c"])
def test_an_item_id_finds_its_image_by_path_or_name(three, item_id):
    table = write(three.parent / "r.csv", f"name,liking\n{item_id},2\n")
    provider = provide(three, ratings=table, item_column="name")
    assert ratings(provider) == {"a.jpg": {}, "b.png": {}, item_id: {"liking": 2.0}}


def test_item_ids_and_files_may_have_a_column_each(three):
    table = write(three.parent / "r.csv", "key,picture,liking\nI/7,a.jpg,1\n../x,sub/c.gif,2\n")
    provider = provide(three, ratings=table, item_column="key", file_column="picture")
    assert ratings(provider) == {"I/7": {"liking": 1.0}, "b.png": {}, "../x": {"liking": 2.0}}
    assert provider.get_image("I/7").source == three / "a.jpg"
    assert provider.get_image("a.jpg") is None


def test_what_does_not_fit_is_counted_and_named(tmp_path):
    draw(tmp_path, *[f"{number}.jpg" for number in range(6)])
    table = write(tmp_path / "r.csv", "file,liking\n0.jpg,1\nx.jpg,2\n,3\n")
    provider = provide(tmp_path, ratings=table)
    assert len(ids(provider)) == 6
    assert provider.notes() == [
        "5 images have no row in r.csv: 1.jpg, 2.jpg, 3.jpg, ...",
        "2 rows of r.csv fit no image: 'x.jpg' (row 3), '' (row 4)",
    ]


@pytest.mark.parametrize("cell", ["good", "1,5,5", "inf", "-Infinity", "1_000", "1e999", "0x10", "3 stars", "9" * 400])
def test_a_cell_that_is_not_a_finite_number_is_missing_and_named(three, cell):
    table = write(three / "r.csv", f'file,liking\na.jpg,1\nb.png,"{cell}"\nsub/c.gif,-2e-1\n')
    provider = provide(three, ratings=table)
    assert ratings(provider) == {"a.jpg": {"liking": 1.0}, "b.png": {}, "sub/c.gif": {"liking": -0.2}}
    assert provider.notes() == [
        f"r.csv: 1 value of 'liking' is not a finite number and counts as missing: {cell[:40]!r} in row 3"
    ]


def test_the_first_of_several_cells_that_are_not_numbers_is_shown(three):
    table = write(three / "r.csv", "file,liking\na.jpg,bad\nb.png,worse\nsub/c.gif,3\n")
    (note,) = provide(three, ratings=table, rating_columns=("liking",)).notes()
    assert note == "r.csv: 2 values of 'liking' are not finite numbers and count as missing, first 'bad' in row 2"


def test_an_empty_cell_is_missing_without_a_word(three):
    table = write(three / "r.csv", "file,liking\na.jpg,1\nb.png,  \nsub/c.gif,NaN\n")
    provider = provide(three, ratings=table)
    assert ratings(provider) == {"a.jpg": {"liking": 1.0}, "b.png": {}, "sub/c.gif": {}}
    assert provider.notes() == []


def test_json_numbers_of_any_size_are_survived(three):
    big = "1" + "0" * 400
    table = write(
        three / "r.json", f'[{{"file": "a.jpg", "x": {big}, "y": 1}}, {{"file": "b.png", "x": 2, "y": true}}]'
    )
    provider = provide(three, ratings=table, rating_columns=("x", "y"))
    assert ratings(provider) == {"a.jpg": {"y": 1.0}, "b.png": {"x": 2.0}, "sub/c.gif": {}}
    assert len(provider.notes()) == 3


def test_by_default_numbers_are_ratings_but_ids_spreads_and_counts_are_not(three):
    table = write(three / "r.csv", "item_id,file,liking,liking_sd,liking_n,n,title\n1,a.jpg,1.5,.3,9,2,A\n")
    provider = provide(three, ratings=table)
    item = provider.get_image("a.jpg")
    assert item.ratings == {"liking": 1.5, "n": 2.0}
    assert item.metadata == {"item_id": "1", "liking_sd": ".3", "liking_n": "9", "title": "A"}
    assert any("liking_sd, liking_n" in note for note in provider.notes())


def test_named_columns_are_the_ratings_in_their_order(three):
    table = write(three / "r.csv", "file,liking,liking_sd,title\na.jpg,1.5,.3,A\n")
    item = provide(three, ratings=table, rating_columns=("liking_sd", "liking")).get_image("a.jpg")
    assert list(item.ratings.items()) == [("liking_sd", 0.3), ("liking", 1.5)]
    assert item.metadata == {"title": "A"}


def test_a_table_without_ratings_says_so(three):
    provider = provide(three, ratings=write(three / "r.csv", "file,title\na.jpg,A\n"))
    assert list(provider.iter_images(filter_labeled=True)) == []
    assert any("no column looks like a rating" in note for note in provider.notes())


def test_pictures_come_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "turned.jpg", exif=exif)
    (item,) = provide(tmp_path).iter_images()
    assert item.open().size == (6, 8)


def error_of(kind: type[saeviz.SaevizError], path: Path, **options) -> str:
    with pytest.raises(kind) as caught:
        list(provide(path, **options).iter_images())
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file_column": "fil"}, "images.file_column: r.csv has no column 'fil'; did you mean 'file'?"),
        ({"item_column": "zzz"}, "images.item_column: r.csv has no column 'zzz'; it has file, liking, title"),
        ({"rating_columns": ("likng",)}, "images.rating_columns: r.csv has no column 'likng'; did you mean 'liking'?"),
        (
            {"rating_columns": ("title",)},
            "images.rating_columns: 'title' of r.csv has no numbers; its first value is 'A'",
        ),
    ],
)
def test_a_wrong_column_is_named(three, options, message):
    table = write(three / "r.csv", "file,liking,title\na.jpg,1,A\n")
    assert error_of(saeviz.ConfigError, three, ratings=table, **options) == message


def test_a_table_without_a_known_file_column_asks_which_it_is(three):
    table = write(three / "r.csv", "bild,liking\na.jpg,1\n")
    assert "images.file_column" in error_of(saeviz.ConfigError, three, ratings=table)
    assert ratings(provide(three, ratings=table, file_column="bild"))["a.jpg"] == {"liking": 1.0}


@pytest.mark.parametrize("options", [{}, {"file_column": "zzz"}])
def test_of_a_thousand_columns_a_message_names_the_first(three, options):
    names = [f"v{number}" for number in range(1000)]
    table = write(three / "r.csv", f"bild,{','.join(names)}\na.jpg{',1' * 1000}\n")
    message = error_of(saeviz.ConfigError, three, ratings=table, **options)
    assert message.endswith(f"it has bild, {', '.join(names[:11])} and 989 more")


@pytest.mark.parametrize(
    ("table", "options", "about"),
    [
        ("file,liking\na.jpg,1\nb.png,2\n./a.jpg,3\n", {}, "rows 2 and 4 of r.csv are both about the image a.jpg"),
        (
            "id,file,x\n7,a.jpg,1\n7,b.png,2\n",
            {"item_column": "id"},
            "rows 2 and 3 of r.csv are both about the item '7'",
        ),
        ("id,file,x\n1,a.jpg,1\na.jpg,b.png,2\nc,,3\n", {"item_column": "id"}, None),
        ("id,file,x\n1,a.jpg,1\nb.png,sub/c.gif,2\n", {"item_column": "id"}, "two images have the id 'b.png'"),
    ],
)
def test_two_rows_about_one_image_are_refused(three, table, options, about):
    path = write(three / "r.csv", table)
    if about is None:
        assert ids(provide(three, ratings=path, **options)) == ["1", "a.jpg", "c"]
    else:
        assert about in error_of(saeviz.DataError, three, ratings=path, **options)


def test_an_item_id_that_fits_two_images_is_refused(tmp_path):
    draw(tmp_path, "x/a.jpg", "y/a.jpg")
    table = write(tmp_path / "r.csv", "id,liking\na,1\n")
    assert "fits 2 images" in error_of(saeviz.DataError, tmp_path, ratings=table, item_column="id")


def test_a_table_for_an_empty_folder_is_refused_for_being_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    table = write(tmp_path / "r.csv", "file,liking\nzebra.jpg,1\n")
    assert "the folder holds no images" in error_of(saeviz.DataError, tmp_path / "empty", ratings=table)


def test_a_table_of_other_images_is_refused(three):
    table = write(three / "r.csv", "file,liking\nzebra.jpg,1\nlion.jpg,2\n")
    message = error_of(saeviz.DataError, three, ratings=table)
    assert "no row of r.csv fits an image" in message
    assert "'zebra.jpg' (row 2)" in message
    assert "a.jpg" in message


def test_a_table_whose_files_lie_elsewhere_is_told_where_they_were_looked_for(three):
    """It names the file, not only the item, since the file is what does not fit."""
    table = write(three / "r.csv", "id,file,liking\n7,deeper/a.jpg,1\n")
    message = error_of(saeviz.DataError, three, ratings=table, item_column="id")
    assert "'deeper/a.jpg' and '7' (row 2)" in message
    assert "images.path" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", b""),
        ("r.csv", b"file,liking\n"),
        ("r.csv", b"file,liking\na.jpg,1,2,3\n"),
        ("r.csv", b"file,liking,liking\na.jpg,1,2\n"),
        ("r.json", b"{"),
        ("r.json", b"[]"),
        ("r.json", b"7"),
        ("r.json", b'[["a.jpg", 1]]'),
        ("r.json", b'{"file": ["a.jpg"], "liking": [1, 2]}'),
        ("r.json", b"[" * 100_000),
        ("r.json", b"caf\xe9"),
        ("r.csv", b"\xff\xfe\x00"),
        ("r.parquet", b"not parquet"),
        ("r.xlsx", b"a workbook"),
    ],
)
def test_a_table_that_is_none_is_refused(three, name, content):
    (three / name).write_bytes(content)
    assert error_of(saeviz.DataError, three, ratings=three / name).startswith(f"images.ratings: {three / name}")


def test_a_missing_folder_file_or_image_is_named(tmp_path):
    assert "images.path" in error_of(saeviz.DataError, tmp_path / "nowhere")
    assert "no images" in error_of(saeviz.DataError, tmp_path)
    write(tmp_path / "file", "")
    assert "is a file" in error_of(saeviz.DataError, tmp_path / "file")
    draw(tmp_path, "a.jpg")
    assert "images.ratings: no file" in error_of(saeviz.DataError, tmp_path, ratings=tmp_path / "r.csv")


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    provider = provide(tmp_path / "later")
    draw(tmp_path / "later", "a.jpg")
    assert ids(provider) == ["a.jpg"]


def test_text_of_a_table_can_always_be_written(three):
    table = write(three / "r.json", json.dumps([{"file": "a.jpg", "liking": 1, "title": "half \ud800 of a pair"}]))
    assert provide(three, ratings=table).get_image("a.jpg").metadata == {"title": "half ? of a pair"}


@pytest.mark.skipif(not OASIS.is_dir(), reason="needs the OASIS test data beside the repository")
@pytest.mark.parametrize("options", [{"file_column": "file"}, {"item_column": "item_id"}, {}])
def test_oasis(options):
    provider = provide(OASIS / "images", ratings=OASIS / "ratings.csv", **options)
    items = list(provider.iter_images(filter_labeled=True))
    assert len(items) == 659
    assert {tuple(item.ratings) for item in items} == {("valence", "arousal", "beauty")}
    acorns = provider.get_image("I1" if "item_column" in options else "acorns-1.jpg")
    assert acorns.ratings == {"valence": 4.686275, "arousal": 2.346535, "beauty": 4.86}
    assert acorns.metadata["theme"] == "Acorns 1"
    assert acorns.open().size == (320, 256)


def groups(provider) -> dict[str, str | None]:
    return {item.item_id: item.group for item in provider.iter_images()}


def test_a_column_says_which_group_an_image_belongs_to_and_stays_metadata(three, tmp_path):
    table = write(tmp_path / "r.csv", "file,liking,series\na.jpg,1,1\nb.png,2,NA\n")
    provider = provide(three, ratings=table, group_column="series")
    assert list(groups(provider).values()) == ["1", None, None]
    assert provider.get_image("a.jpg").ratings == {"liking": 1.0}
    assert provider.get_image("a.jpg").metadata == {"series": "1"}
    assert groups(provide(three, ratings=table)) == dict.fromkeys(groups(provider))


def test_a_group_that_is_named_as_a_rating_is_both(three, tmp_path):
    table = write(tmp_path / "r.csv", "file,series\na.jpg,1\nb.jpg,2\n")
    provider = provide(three, ratings=table, group_column="series", rating_columns=("series",))
    assert provider.get_image("a.jpg").ratings == {"series": 1.0}
    assert provider.get_image("a.jpg").group == "1"


def test_a_group_column_that_is_not_there_is_refused(three, tmp_path):
    table = write(tmp_path / "r.csv", "file,liking,artist\na.jpg,1,x\n")
    with pytest.raises(saeviz.ConfigError, match=r"images\.group_column: r\.csv has no column 'artst'; did you mean"):
        provide(three, ratings=table, group_column="artst").notes()


def test_categories_labels_and_ordered_levels_of_a_parquet_table(three, tmp_path):
    import pandas as pd

    names = ["a.jpg", "b.png", "sub/c.gif"]
    rows = {"file": names, "kind": ["cat", "dog", None], "tags": [["x"], [], ["x", "y"]], "mood": ["low", "high", "?"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "r.parquet")
    named = {"categories": ("kind",), "multi_labels": ("tags",), "ordinals": {"mood": ("low", "high")}}
    provider = provide(three, ratings=tmp_path / "r.parquet", min_images=1, **named)
    by_id = {item.item_id: item.ratings for item in provider.iter_images()}
    assert by_id[names[0]] == {"mood": 0.0, "kind=cat": 1.0, "kind=dog": 0.0, "tags=x": 1.0, "tags=y": 0.0}
    assert by_id[names[1]] == {"mood": 1.0, "kind=cat": 0.0, "kind=dog": 1.0, "tags=x": 0.0, "tags=y": 0.0}
    assert by_id[names[2]] == {"tags=x": 1.0, "tags=y": 1.0}
    assert not provider.notes()

"""Which files of a folder are images, and what is said of the others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unicodedata import normalize

import pytest
from PIL import Image, features

import saeviz
from saeviz.toolkit.images import IMAGE_ENDINGS
from saeviz_folder import FolderOptions
from saeviz_folder.provider import FolderImages
from saeviz_table import TableOptions
from saeviz_table.provider import TableImages

FAKES = [
    "module:saeviz.testing.fakes",
    "--set",
    "extractor.use=fake-extractor",
    "--set",
    "embeddings.use=fake-embeddings",
]


def draw(path: Path, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        Image.new("RGB", (16, 16), (shade, 90, 120)).save(file, Image.registered_extensions()[path.suffix.lower()])
    return path


def folder(path: Path, **options) -> FolderImages:
    return FolderImages(FolderOptions(path=path, **options), saeviz.Context())


def table(path: Path, **options) -> TableImages:
    return TableImages(TableOptions(path=path, **options), saeviz.Context())


def ids(provider) -> list[str]:
    return [item.item_id for item in provider.iter_images()]


@pytest.mark.parametrize("ending", sorted(IMAGE_ENDINGS))
def test_every_ending_of_the_list_is_read_by_folder_and_table_alike(tmp_path, ending):
    if ending.startswith(".avif") and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    Image.init()
    name = f"picture{ending.upper()}"
    draw(tmp_path / name)
    rows = tmp_path / "r.csv"
    rows.write_text(f"file,liking\n{name},3\n")
    for provider in (folder(tmp_path, ratings=rows), table(rows)):
        (item,) = provider.iter_images()
        assert (item.item_id, item.ratings, item.open().size) == (name, {"liking": 3.0}, (16, 16))


def test_what_is_passed_over_is_counted_by_its_ending_and_heic_has_a_next_step(tmp_path):
    for name in ("a.jpg", "b.heic", "sub/c.HEIC", "d.nef", "r.csv", "readme", "Thumbs.db", "notes.txt"):
        draw(tmp_path / name) if name == "a.jpg" else _write(tmp_path / name, "file,liking\na.jpg,1\n")
    provider = folder(tmp_path, ratings=tmp_path / "r.csv")
    assert ids(provider) == ["a.jpg"]
    first, *others = provider.notes()
    assert first.startswith("5 files that are not images were passed over: 2 .heic, ")
    assert all(part in first for part in ("1 .nef", "1 without an ending", "1 .txt"))
    assert ".csv" not in first
    assert any(note.startswith("2 .heic: HEIC cannot be read; export as JPEG") for note in others)
    assert any(note.startswith("1 .nef: raw photographs cannot be read") for note in others)


def test_a_folder_of_heic_says_what_to_do(tmp_path):
    _write(tmp_path / "b.heic", "")
    with pytest.raises(saeviz.DataError, match=r"no images in .*1 \.heic: HEIC cannot be read; export as JPEG"):
        ids(folder(tmp_path))


def test_links_to_nothing_are_said(tmp_path):
    draw(tmp_path / "a.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    provider = folder(tmp_path)
    assert ids(provider) == ["a.jpg"]
    assert provider.notes() == ["2 links or devices that lead to no file left out: gone.jpg, pipe.jpg"]


def test_run_directories_below_the_folder_are_no_images(tmp_path):
    draw(tmp_path / "a.jpg")
    for run, manifest in (("one", '{"format": 1, "stages": {}}'), ("deep/two", "{broken")):
        draw(tmp_path / run / "report" / "thumb.webp")
        _write(tmp_path / run / "run.json", manifest)
        _write(tmp_path / run / "log.txt", "")
    draw(tmp_path / "theirs" / "b.jpg")
    _write(tmp_path / "theirs" / "run.json", json.dumps({"participant": 3}))
    provider = folder(tmp_path)
    assert ids(provider) == ["a.jpg", "theirs/b.jpg"]
    assert provider.notes()[0] == "2 run directories of saeviz left out: deep/two, one"
    with pytest.raises(saeviz.DataError, match=r"images\.path: .*one is a run directory of saeviz"):
        ids(folder(tmp_path / "one"))


def test_a_run_inside_its_image_folder_has_the_same_images_again(tmp_path, saeviz_command, monkeypatch):
    for number in range(8):
        draw(tmp_path / f"{number}.png", 20 * number)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert "images: 8" in saeviz_command("run", "--images", ".", "--plugins", *FAKES).err


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_names_are_compared_in_one_form(tmp_path, on_disk, in_table):
    names = ["café.jpg", "Ordner Ä/piñata.jpg", "plain.jpg"]
    for name in names:
        draw(tmp_path / "pics" / normalize(on_disk, name))
    draw(tmp_path / normalize(on_disk, "außen é.jpg"))
    rows = [f"{normalize(in_table, name)},{number}" for number, name in enumerate([*names, "../außen é.jpg"])]
    ratings = _write(tmp_path / "pics" / "r.csv", "\n".join(["file,liking", *rows]))
    from_folder = {item.item_id: item for item in folder(tmp_path / "pics", ratings=ratings).iter_images()}
    from_table = {item.item_id: item for item in table(ratings).iter_images()}
    for items in (from_folder, from_table):
        assert {name: item.ratings["liking"] for name, item in items.items()} == {
            "café.jpg": 0.0,
            "Ordner Ä/piñata.jpg": 1.0,
            "plain.jpg": 2.0,
            "../außen é.jpg": 3.0,
        }
        assert all(item.open().size == (16, 16) for item in items.values())


def test_an_item_id_is_compared_in_one_form(tmp_path):
    draw(tmp_path / normalize("NFD", "café.jpg"))
    ratings = _write(tmp_path / "r.csv", "id,liking\ncafé,1\n")
    (item,) = folder(tmp_path, ratings=ratings, item_column="id").iter_images()
    assert item.ratings == {"liking": 1.0}


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path

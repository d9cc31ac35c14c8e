"""The pictures of the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saeviz
from tests.plugins.report.page import CLS, PATCH, FakeRun, Write, entries, ids_shown, picture, show_only, thumbnails


def half_dark() -> Image.Image:
    """Dark grey on the left, light grey on the right."""
    image = Image.new("RGB", (60, 20), (40, 40, 40))
    image.paste((220, 220, 220), (30, 0, 60, 20))
    return image


class TestThumbnails:
    def test_every_picture_is_there_in_its_order_and_with_its_activation(self, run: FakeRun, write: Write) -> None:
        page = write()
        shown = {feature: ids_shown(entry) for feature, entry in entries(page).items()}
        assert list(shown.values()) == [["item/0", "item/1"], ["item/1", "item/2", "item/3"], []]
        alts = [image["alt"] for image in entries(page)["layer8.cls/7"].all("img")]
        assert alts == ["item/0, activation 5.50", "item/1, activation 4.25"]
        for image in page.all("img"):
            with Image.open(run.dir / "report" / image.attributes["src"]) as file:
                file.load()
                assert (str(file.width), str(file.height)) == (image["width"], image["height"])

    def test_a_picture_that_several_features_share_is_one_file(self, run: FakeRun, write: Write) -> None:
        page = write()
        assert len(page.all("img")) == 5
        assert thumbnails(run) == {Path(image.attributes["src"]).name for image in page.all("img")}
        assert len(thumbnails(run)) == 4

    def test_a_file_name_tells_nothing_of_the_item(self, run: FakeRun, write: Write) -> None:
        run.items[0] = replace(run.items[0], item_id="../../secret name")
        run.top[CLS.feature(7)] = [saeviz.TopImage(run.items[0], 1.0)]
        write()
        assert all(re.fullmatch(r"[0-9a-f]{24}\.webp", name) for name in thumbnails(run))

    def test_no_more_images_than_asked_for(self, write: Write) -> None:
        shown = [ids_shown(entry) for entry in entries(write(top_images=2)).values()]
        assert shown == [["item/0", "item/1"], ["item/1", "item/2"], []]

    @pytest.mark.parametrize(
        ("size", "expected"),
        [((320, 256), (80, 64)), ((1000, 100), (128, 13)), ((40, 30), (40, 30)), ((1, 1), (1, 1))],
    )
    def test_is_as_high_as_asked_for_at_most_twice_as_wide_and_never_enlarged(
        self, run: FakeRun, write: Write, size: tuple[int, int], expected: tuple[int, int]
    ) -> None:
        item = saeviz.ImageItem("odd", picture(1, size))
        show_only(run, item)
        write(thumbnail_size=64)
        [name] = thumbnails(run)
        assert Image.open(run.dir / "report" / "images" / name).size == expected

    @pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "1"])
    def test_every_kind_of_picture_is_shown_with_its_colours(self, run: FakeRun, write: Write, mode: str) -> None:
        shown = self.shown(run, write, lambda: half_dark().convert(mode))
        assert abs(shown[5, 5] - 40) < 45
        assert abs(shown[5, 50] - 220) < 45

    @pytest.mark.parametrize(
        ("dtype", "largest"),
        [("uint16", 65535), ("int32", 65535), ("int32", 255), ("float32", 1.0), ("float32", 255.0)],
    )
    def test_deep_pictures_are_neither_white_nor_black(
        self, run: FakeRun, write: Write, dtype: str, largest: float
    ) -> None:
        ramp = np.tile(np.linspace(0, largest, 64), (20, 1)).astype(dtype)
        shown = self.shown(run, write, lambda: Image.fromarray(ramp))
        assert np.abs(shown[10] - np.linspace(0, 255, 64)).max() < 12

    def shown(self, run: FakeRun, write: Write, draw: Callable[[], Image.Image]) -> np.ndarray:
        """The grey levels of its thumbnail."""
        show_only(run, saeviz.ImageItem("odd", draw))
        write()
        [name] = thumbnails(run)
        with Image.open(run.dir / "report" / "images" / name) as file:
            return np.asarray(file.convert("L"), int)

    def test_what_is_transparent_is_white(self, run: FakeRun, write: Write) -> None:
        item = saeviz.ImageItem("clear", lambda: Image.new("RGBA", (30, 20), (0, 0, 0, 0)))
        show_only(run, item)
        write()
        [name] = thumbnails(run)
        assert min(Image.open(run.dir / "report" / "images" / name).getpixel((5, 5))) > 250

    def test_thumbnails_that_no_feature_shows_any_more_vanish(self, run: FakeRun, write: Write) -> None:
        write()
        before = thumbnails(run)
        run.top[PATCH.feature(7)] = run.top[PATCH.feature(7)][:1]
        write()
        assert thumbnails(run) < before
        assert len(thumbnails(run)) == 2

    def test_only_what_changed_is_made_again(self, run: FakeRun, write: Write) -> None:
        write()
        folder = run.dir / "report" / "images"
        before = {name: (folder / name).stat().st_mtime_ns for name in thumbnails(run)}
        source = run.items[0].source
        assert isinstance(source, Path)
        source.write_bytes(picture(99, (200, 200)))
        write()
        after = {name: (folder / name).stat().st_mtime_ns for name in thumbnails(run)}
        assert len(after) == len(before) == 4
        assert len(after.items() & before.items()) == 3

    def test_a_damaged_thumbnail_is_made_again(self, run: FakeRun, write: Write) -> None:
        write()
        for name in thumbnails(run):
            (run.dir / "report" / "images" / name).write_bytes(b"torn")
        shown = write().all("img")
        assert shown
        for image in shown:
            Image.open(run.dir / "report" / image.attributes["src"]).load()

    def test_an_image_that_vanished_leaves_a_placeholder_and_is_reported(self, run: FakeRun, write: Write) -> None:
        write()
        source = run.items[1].source
        assert isinstance(source, Path)
        source.unlink()
        reported: list[str] = []
        page = write(saeviz.Context(failed=lambda subject, _error: reported.append(subject)))
        assert [ids_shown(entry) for entry in entries(page).values()] == [["item/0"], ["item/2", "item/3"], []]
        assert [gone.text for gone in page.all("span", class_="gone")] == ["image can no longer be read: item/1"] * 2
        assert reported == ["item/1"]
        assert "item/1" in page.one("table", id="left-out").text
        assert len(thumbnails(run)) == 3

    def test_an_image_that_came_back_is_not_a_failure_any_more(self, run: FakeRun, write: Write) -> None:
        run.failures.append(saeviz.Failure("report", "item/1", "gone"))
        assert "item/1" not in write().one("section", id="failures").text

"""The pictures of the report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import saeviz
from saeviz_report.explorer import reporter
from tests.plugins.report.page import CLS, FakeRun, Write, images_of_feature, picture, show_only, thumbnails


def half_dark() -> Image.Image:
    """Dark grey on the left, light grey on the right."""
    image = Image.new("RGB", (60, 20), (40, 40, 40))
    image.paste((220, 220, 220), (30, 0, 60, 20))
    return image


class TestThumbnails:
    def test_every_picture_is_there_and_features_know_theirs_in_order(self, run: FakeRun, write: Write) -> None:
        report = write()
        shown = [images_of_feature(report, chosen.feature) for chosen in run.selected]
        assert [list(images) for images in shown] == [["item/0", "item/1"], ["item/1", "item/2", "item/3"], []]
        assert list(shown[0].values()) == [5.5, 4.25]
        for name, width, height in report.content("items")["thumbnails"]:
            with Image.open(run.dir / "report" / "pictures" / name) as file:
                file.load()
                assert (file.width, file.height) == (width, height)
        assert len(thumbnails(run)) == len(run.items)

    def test_a_file_name_tells_nothing_of_the_item(self, run: FakeRun, write: Write) -> None:
        run.items[0] = replace(run.items[0], item_id="../../secret name")
        run.top[CLS.feature(7)] = [saeviz.TopImage(run.items[0], 1.0)]
        write()
        assert all(re.fullmatch(r"[0-9a-f]{24}\.webp", name) for name in thumbnails(run))

    def test_of_very_many_images_the_top_images_of_selected_features_have_pictures(
        self, run: FakeRun, write: Write, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reporter, "MOST_THUMBNAILS", 3)
        shown = write(top_images=2).content("items")
        with_picture = [name for name, picture in zip(shown["ids"], shown["thumbnails"], strict=True) if picture]
        assert with_picture == ["item/0", "item/1", "item/2"]

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
        assert Image.open(run.dir / "report" / "pictures" / name).size == expected

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
        with Image.open(run.dir / "report" / "pictures" / name) as file:
            return np.asarray(file.convert("L"), int)

    def test_what_is_transparent_is_white(self, run: FakeRun, write: Write) -> None:
        item = saeviz.ImageItem("clear", lambda: Image.new("RGBA", (30, 20), (0, 0, 0, 0)))
        show_only(run, item)
        write()
        [name] = thumbnails(run)
        assert min(Image.open(run.dir / "report" / "pictures" / name).getpixel((5, 5))) > 250

    def test_thumbnails_that_are_not_shown_any_more_vanish(self, run: FakeRun, write: Write) -> None:
        write()
        before = thumbnails(run)
        run.items = run.items[:2]
        run.top = {feature: [one for one in shown if one.item in run.items] for feature, shown in run.top.items()}
        write()
        assert thumbnails(run) < before
        assert len(thumbnails(run)) == 2

    def test_only_what_changed_is_made_again(self, run: FakeRun, write: Write) -> None:
        write()
        folder = run.dir / "report" / "pictures"
        before = {name: (folder / name).stat().st_mtime_ns for name in thumbnails(run)}
        source = run.items[0].source
        assert isinstance(source, Path)
        source.write_bytes(picture(99, (200, 200)))
        write()
        after = {name: (folder / name).stat().st_mtime_ns for name in thumbnails(run)}
        assert len(after) == len(before) == 6
        assert len(after.items() & before.items()) == 5

    def test_a_damaged_thumbnail_is_made_again(self, run: FakeRun, write: Write) -> None:
        write()
        for name in thumbnails(run):
            (run.dir / "report" / "pictures" / name).write_bytes(b"torn")
        write()
        for name in thumbnails(run):
            Image.open(run.dir / "report" / "pictures" / name).load()

    def test_an_image_that_vanished_has_no_picture_and_is_reported(self, run: FakeRun, write: Write) -> None:
        write()
        source = run.items[1].source
        assert isinstance(source, Path)
        source.unlink()
        reported: list[str] = []
        report = write(saeviz.Context(failed=lambda subject, _error: reported.append(subject)))
        assert [picture is None for picture in report.content("items")["thumbnails"]] == [False, True, *[False] * 4]
        assert list(images_of_feature(report, CLS.feature(7))) == ["item/0", "item/1"]
        assert reported == ["item/1"]
        assert [subject for _, subject, _ in report.run["failures"]] == ["broken.jpg", "item/1"]
        assert len(thumbnails(run)) == 5

    def test_an_image_that_came_back_is_not_a_failure_any_more(self, run: FakeRun, write: Write) -> None:
        run.failures.append(saeviz.Failure("report", "item/1", "gone"))
        assert "item/1" not in [subject for _, subject, _ in write().run["failures"]]

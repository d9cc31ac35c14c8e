"""A heatmap over its picture: every cell on the pixels it belongs to, in colours that can be read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from saeviz.pictures.heatmap import colours, draw_heatmap

LEGEND = 28


def grey(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (120, 120, 120))


def coloured(picture: Image.Image) -> tuple[int, int, int, int]:
    """The box around whatever is not grey, above the legend."""
    pixels = np.asarray(picture, int)[:-LEGEND]
    rows, columns = np.nonzero(pixels.max(-1) - pixels.min(-1) > 8)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def one_hot(rows: int, cols: int, row: int, col: int) -> np.ndarray:
    values = np.zeros((rows, cols), np.float32)
    values[row, col] = 2.5
    return values


@pytest.mark.parametrize(("row", "col"), [(0, 0), (3, 5), (6, 6)])
def test_a_cell_covers_its_pixels(row, col):
    """A crop of 420 x 420 from the middle of 640 x 480: cells of 60 pixels, the first at (110, 30)."""
    drawn = draw_heatmap(grey(640, 480), one_hot(7, 7, row, col), (110, 30, 530, 450), smooth=False)
    left, top = 110 + 60 * col, 30 + 60 * row
    assert coloured(drawn) == (left, top, left + 60, top + 60)


def test_a_smooth_map_has_its_values_at_the_centres_of_cells():
    values = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    pictures = [
        np.asarray(draw_heatmap(grey(1010, 808), values, (0, 0, 1010, 808), smooth=smooth), int)
        for smooth in (False, True)
    ]
    for row in range(4):
        for col in range(5):
            place = 101 + 202 * row, 101 + 202 * col
            np.testing.assert_allclose(pictures[0][place], pictures[1][place], atol=3)
    assert np.abs(np.diff(pictures[1][101, :, 1])).max() < 8 < np.abs(np.diff(pictures[0][101, :, 1])).max()


def test_what_the_model_did_not_see_is_dim_and_outlined():
    drawn = np.asarray(draw_heatmap(grey(640, 480), one_hot(7, 7, 3, 3), (80, 0, 560, 480)), int)[:-LEGEND]
    assert (drawn[:, 80:160] == 120).all()
    assert (drawn[:, 480:560] == 120).all()
    assert (drawn[:, :79] < 60).all()
    assert (drawn[:, 561:] < 60).all()
    assert len({*map(tuple, drawn[:, 79]), *map(tuple, drawn[:, 560])} - {(120,) * 3, (42,) * 3}) == 1, "one line each"


def test_a_map_that_reaches_beyond_the_picture_is_cut_off():
    """A model that pads 800 x 400 to a square: only the two middle rows of four lie on the picture."""
    for row, expected in [(1, (200, 0, 400, 200)), (2, (200, 200, 400, 400))]:
        drawn = draw_heatmap(grey(800, 400), one_hot(4, 4, row, 1), (0, -200, 800, 600), smooth=False)
        assert coloured(drawn) == expected
    silent = np.asarray(draw_heatmap(grey(800, 400), one_hot(4, 4, 0, 1), (0, -200, 800, 600), smooth=False))
    assert (silent[:-LEGEND] == 120).all()


@pytest.mark.parametrize(
    ("size", "shown"),
    [((640, 480), (640, 480)), ((32, 16), (512, 256)), ((4000, 1000), (1024, 256)), ((2, 3000), (360, 1024))],
)
def test_the_size_is_the_pictures_own_within_reason(size, shown):
    drawn = draw_heatmap(grey(*size), one_hot(2, 2, 0, 0), (0, 0, *size))
    assert drawn.mode == "RGB"
    assert drawn.size == (shown[0], shown[1] + LEGEND)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK", "I;16", "1"])
def test_pictures_of_any_mode(mode):
    picture = Image.new("L", (600, 600), 255).convert("I;16" if mode == "I;16" else mode)
    drawn = draw_heatmap(picture, np.zeros((2, 2), np.float32), (0, 0, 600, 600))
    assert drawn.size == (600, 600 + LEGEND)


def test_a_silent_feature_leaves_the_picture_unmarked():
    drawn = np.asarray(draw_heatmap(grey(600, 600), np.zeros((7, 7), np.float32), (0, 0, 600, 600)))
    assert (drawn[:600] == 120).all()


def test_the_legend_has_scale_and_caption():
    plain = draw_heatmap(grey(600, 600), one_hot(2, 2, 0, 0), (0, 0, 600, 600))
    named = draw_heatmap(grey(600, 600), one_hot(2, 2, 0, 0), (0, 0, 600, 600), caption="layer11.cls/4711")
    twice = draw_heatmap(grey(600, 600), 2 * one_hot(2, 2, 0, 0), (0, 0, 600, 600))
    legends = [np.asarray(drawn)[600:] for drawn in (plain, named, twice)]
    assert not (legends[0] == legends[1]).all()
    assert not (legends[0] == legends[2]).all(), "the maximum is written there"
    assert (np.asarray(plain)[:600] == np.asarray(twice)[:600]).all(), "colours go up to the maximum"


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of sRGB 0 to 255, white D65."""
    linear = np.where(rgb / 255 <= 0.04045, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / matrix.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def test_colours_get_lighter_in_even_steps():
    """Lightness carries the value, so that nobody depends on telling hues apart."""
    lightness = lab(colours(np.linspace(0, 1, 101)))[:, 0]
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 2 * steps.mean()
    assert np.ptp(lightness) > 70

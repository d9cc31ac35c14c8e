from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from saeviz.toolkit.images import to_rgb


def ramp(dtype, largest):
    """A horizontal ramp from 0 to `largest`."""
    return np.tile(np.linspace(0, largest, 256), (4, 1)).astype(dtype)


def reopened(image, kind):
    buffer = BytesIO()
    image.save(buffer, kind)
    return Image.open(BytesIO(buffer.getvalue()))


EIGHT_BIT = np.asarray(Image.fromarray(ramp(np.uint8, 255)).convert("RGB"), dtype=int)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(ramp(np.uint16, 65535)),
        reopened(Image.fromarray(ramp(np.uint16, 65535)), "png"),
        reopened(Image.fromarray(ramp(np.uint16, 65535)), "tiff"),
        Image.fromarray(ramp(np.int32, 65535)),
        Image.fromarray(ramp(np.int32, 255)),
        Image.fromarray(ramp(np.int32, 10**6)),
        Image.fromarray(ramp(np.float32, 1.0)),
        Image.fromarray(ramp(np.float32, 255.0)),
        Image.fromarray(ramp(np.float32, 65535.0)),
    ],
    ids=lambda image: f"{image.mode} {image.getextrema()[1]}",
)
def test_deep_grey_becomes_the_same_grey_and_is_not_clipped(image):
    rgb = to_rgb(image)
    assert (rgb.mode, rgb.size) == ("RGB", (256, 4))
    assert np.abs(np.asarray(rgb, dtype=int) - EIGHT_BIT).max() <= 1


def test_what_is_no_number_or_below_zero_is_black():
    pixels = np.array([[np.nan, np.inf, -np.inf, -5.0, 0.5, 1.0]], dtype=np.float32)
    assert np.asarray(to_rgb(Image.fromarray(pixels)))[0, :, 0].tolist() == [0, 0, 0, 0, 128, 255]


def test_a_black_deep_picture_is_black():
    assert to_rgb(Image.fromarray(np.full((2, 2), -7, dtype=np.int32))).getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
        ("RGBA", (200, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (90, 255), (90, 90, 90)),
        ("La", (0, 0), (255, 255, 255)),
        ("RGBa", (0, 0, 0, 0), (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("1", 1, (255, 255, 255)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
    ],
)
def test_what_is_transparent_shows_white(mode, colour, expected):
    pixel = to_rgb(Image.new(mode, (3, 2), colour)).getpixel((2, 1))
    assert np.abs(np.subtract(pixel, expected)).max() <= 1


def test_palettes_keep_their_colours_and_their_transparent_one_shows_white():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 0])
    picture.putdata([0, 1])
    assert [to_rgb(picture).getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (200, 100, 0)]
    buffer = BytesIO()
    picture.save(buffer, "png", transparency=1)
    reread = to_rgb(Image.open(buffer))
    assert [reread.getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (255, 255, 255)]


def test_a_colour_marked_transparent_shows_white():
    buffer = BytesIO()
    Image.new("RGB", (2, 2), (5, 6, 7)).save(buffer, "png", transparency=(5, 6, 7))
    assert to_rgb(Image.open(buffer)).getpixel((0, 0)) == (255, 255, 255)


def test_the_given_picture_does_not_change():
    picture = Image.new("RGBA", (2, 2), (9, 9, 9, 0))
    to_rgb(picture)
    assert (picture.mode, picture.getpixel((0, 0))) == ("RGBA", (9, 9, 9, 0))

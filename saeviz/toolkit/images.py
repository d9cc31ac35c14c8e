"""Recognise image files, and convert pictures to what a viewer shows: upright, 8-bit RGB, on white."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeviz.pictures.files import picture_file
from saeviz.pictures.heatmap import is_heatmap
from saeviz.pictures.rgb import is_deep, is_see_through, to_rgb
from saeviz.values.decoding import open_picture, size_of, upright
from saeviz.values.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "IMAGE_ENDINGS",
    "check_shape",
    "is_deep",
    "is_heatmap",
    "is_see_through",
    "open_picture",
    "picture_file",
    "size_of",
    "to_rgb",
    "upright",
]

IMAGE_ENDINGS = frozenset(
    f".{ending}"
    for endings in (
        ("jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif", "avifs"),
        ("jp2", "j2k", "j2c", "jpc", "jpf", "jpx", "ppm", "pgm", "pbm", "pnm"),
    )
    for ending in endings
)
"""The file name endings of images, in lower case; shared by all image sources."""

MAX_ASPECT = 100
"""Resizing the short edge of a much more elongated picture could take gigabytes of memory."""


def check_shape(image: Image) -> None:
    """Raise `ImageError` for a picture with one side more than 100 times as long as the other."""
    if max(image.size) > MAX_ASPECT * max(min(image.size), 1):
        raise ImageError(f"a picture of {image.width} x {image.height} is too long and narrow for a vision model")

"""Which files are images, and any picture as 8-bit RGB, the way an eye would see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeviz.errors import ImageError
from saeviz.pictures import to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["IMAGE_ENDINGS", "check_shape", "to_rgb"]

IMAGE_ENDINGS = frozenset(
    f".{ending}"
    for endings in (
        ("jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif", "avifs"),
        ("jp2", "j2k", "j2c", "jpc", "jpf", "jpx", "ppm", "pgm", "pbm", "pnm", "tga"),
    )
    for ending in endings
)
"""The endings of image files, in small letters: one list for every source of images."""

MAX_ASPECT = 100
"""Resizing the short edge of a picture much longer than this blows it up to gigabytes."""


def check_shape(image: Image) -> None:
    """Raise `ImageError` for a picture that is more than 100 times as long as it is wide, or the other way round."""
    if max(image.size) > MAX_ASPECT * max(min(image.size), 1):
        raise ImageError(f"a picture of {image.width} x {image.height} is too long and narrow for a vision model")

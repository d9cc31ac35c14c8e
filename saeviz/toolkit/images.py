"""Any picture as 8-bit RGB, the way an eye would see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeviz.errors import ImageError
from saeviz.pictures import to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["check_shape", "to_rgb"]

MAX_ASPECT = 100
"""Resizing the short edge of a picture much longer than this blows it up to gigabytes."""


def check_shape(image: Image) -> None:
    """Raise `ImageError` for a picture that is more than 100 times as long as it is wide, or the other way round."""
    if max(image.size) > MAX_ASPECT * max(min(image.size), 1):
        raise ImageError(f"a picture of {image.width} x {image.height} is too long and narrow for a vision model")

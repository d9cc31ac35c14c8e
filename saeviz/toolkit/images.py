"""Any picture as 8-bit RGB, the way an eye would see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeviz.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image


MAX_ASPECT = 100
"""Resizing the short edge of a picture much longer than this blows it up to gigabytes."""


def check_shape(image: Image) -> None:
    """Raise `ImageError` for a picture that is more than 100 times as long as it is wide, or the other way round."""
    if max(image.size) > MAX_ASPECT * max(min(image.size), 1):
        raise ImageError(f"a picture of {image.width} x {image.height} is too long and narrow for a vision model")


def to_rgb(image: Image) -> Image:
    """The picture in mode RGB, of the same size.

    What is transparent shows white. Grey of more than 8 bits is scaled, where Pillow alone would clip it to white:
    16-bit pictures by their full range, integers and floats by the first of 1, 255, 65535 or their maximum that holds
    them. Raises `ImageError` for a mode that has no RGB.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scaled(image).convert("RGB")
    try:
        return _on_white(image) if image.has_transparency_data else image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"a picture of mode {image.mode} cannot be turned into RGB: {error}") from error


def _scaled(image: Image) -> Image:
    import numpy as np
    import PIL.Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    largest = values.max()
    white = 65535 if image.mode.startswith("I;16") else next((w for w in (1, 255, 65535) if largest <= w), largest)
    return PIL.Image.fromarray(np.rint(values.clip(0) * (255 / white)).astype(np.uint8))


def _on_white(image: Image) -> Image:
    import PIL.Image

    straight = image.convert("LA") if image.mode == "La" else image
    picture = straight.convert("RGBA")
    white = PIL.Image.new("RGBA", picture.size, "white")
    return PIL.Image.alpha_composite(white, picture).convert("RGB")

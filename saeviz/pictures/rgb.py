"""Convert any picture to 8-bit RGB, as a viewer would show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saeviz.values.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image


def is_see_through(image: Image) -> bool:
    """Whether the picture has any transparent or translucent parts."""
    if not image.has_transparency_data:
        return False
    alpha: Any = _straight(image).convert("RGBA").getchannel("A")
    return bool(alpha.getextrema()[0] < 255)


def to_rgb(image: Image) -> Image:
    """The picture in mode RGB, of the same size.

    Transparent parts become white. Grey of more than 8 bits is scaled, whereas Pillow would clip it to white: 16-bit
    pictures by their full range, integers and floats by the first of 1, 255, 65535 or their maximum that holds them.
    Raises `ImageError` for a mode that has no RGB.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if is_deep(image):
        return _scaled(image).convert("RGB")
    try:
        return _on_white(image) if image.has_transparency_data else image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"a picture of mode {image.mode} cannot be turned into RGB: {error}") from error


def is_deep(image: Image) -> bool:
    """Whether the picture is grey with more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _scaled(image: Image) -> Image:
    import numpy as np
    import PIL.Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    largest = values.max()
    white = 65535 if image.mode.startswith("I;16") else next((w for w in (1, 255, 65535) if largest <= w), largest)
    return PIL.Image.fromarray(np.rint(values.clip(0) * (255 / white)).astype(np.uint8))


def _on_white(image: Image) -> Image:
    import PIL.Image

    picture = _straight(image).convert("RGBA")
    white = PIL.Image.new("RGBA", picture.size, "white")
    return PIL.Image.alpha_composite(white, picture).convert("RGB")


def _straight(image: Image) -> Image:
    """The only mode into which Pillow can convert grey with premultiplied alpha."""
    return image.convert("LA") if image.mode == "La" else image

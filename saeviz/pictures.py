"""Pictures: which files are opened as one, how they are turned upright, and any of them as 8-bit RGB."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from saeviz.errors import ImageError, SaevizError
from saeviz.regular import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

READERS = {
    "AVIF": "AvifImagePlugin",
    "BMP": "BmpImagePlugin",
    "DIB": "BmpImagePlugin",
    "GIF": "GifImagePlugin",
    "JPEG": "JpegImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "PNG": "PngImagePlugin",
    "PPM": "PpmImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
}
"""The formats that are read, and Pillow's modules for them; some of its others start programs, as PostScript does."""
ORIENTATION = 0x0112
CARRIERS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
"""Where a picture's `info` says how it is to be turned."""


@cache
def formats() -> tuple[str, ...]:
    """Those of `READERS` that this Pillow can read, by its names."""
    from PIL import Image

    for module in READERS.values():
        with suppress(ImportError):
            import_module(f"PIL.{module}")
    return tuple(name for name in READERS if name in Image.OPEN)


def open_picture(source: Path | bytes) -> Image:
    """The decoded picture of a file, upright, in its own mode; an animation gives its first frame.

    Raises `ImageError` where it cannot be read: it is no regular file, in no format of `READERS`, broken, or has more
    pixels than Pillow allows.
    """
    from PIL import UnidentifiedImageError

    try:
        with BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
            return _decoded(file)
    except UnidentifiedImageError as error:
        known = ", ".join(name for name in formats() if name != "DIB")
        raise ImageError(f"it is not in an image format that is read here ({known})") from error
    except _BROKEN as error:
        raise ImageError(_reason(error)) from error


def size_of(source: Path | bytes) -> tuple[int, int] | None:
    """Width and height of what `open_picture` may be able to read, from its beginning; None for anything else."""
    from PIL import Image

    try:
        with BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
            return Image.open(file, formats=formats()).size
    except (*_BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def drawn(draw: Callable[[], Image]) -> Image:
    """The picture that a function gives, decoded and upright. Raises `ImageError` where it gives none.

    Other errors of saeviz pass: a service that refuses its key has not lost one picture.
    """
    from PIL import Image

    try:
        image = draw()
        if not isinstance(image, Image.Image):
            raise ImageError(f"its function gives {type(image).__name__}, not a picture")
        image.load()
        return upright(image)
    except SaevizError:
        raise
    except (Exception, SystemExit) as error:  # foreign code may fail in any way
        raise ImageError(_reason(error)) from error


def upright(image: Image) -> Image:
    """The picture turned as its EXIF orientation says, which it then has no more; as it is where that is broken."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(ORIENTATION, 1))
    except _BROKEN:
        turn = None
    turned = image.copy() if turn is None else image.transpose(turn)
    for carrier in CARRIERS:
        turned.info.pop(carrier, None)
    return turned


def is_see_through(image: Image) -> bool:
    """Whether any of it is transparent, more or less."""
    if not image.has_transparency_data:
        return False
    alpha: Any = _straight(image).convert("RGBA").getchannel("A")
    return bool(alpha.getextrema()[0] < 255)


def to_rgb(image: Image) -> Image:
    """The picture in mode RGB, of the same size.

    What is transparent shows white. Grey of more than 8 bits is scaled, where Pillow alone would clip it to white:
    16-bit pictures by their full range, integers and floats by the first of 1, 255, 65535 or their maximum that holds
    them. Raises `ImageError` for a mode that has no RGB.
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
    """Whether it is grey of more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


_BROKEN = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    RuntimeError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow's readers raise over broken files, which they hardly check; besides its own two for bombs."""


def _decoded(file: BinaryIO) -> Image:
    from PIL import Image

    try:
        image = Image.open(file, formats=formats())
        image.load()
        return upright(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    expected = isinstance(error, OSError | ValueError | SyntaxError)
    return str(error) if expected and str(error) else f"{type(error).__name__}: {error}"


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
    """Pillow turns grey with premultiplied alpha into nothing else but this."""
    return image.convert("LA") if image.mode == "La" else image

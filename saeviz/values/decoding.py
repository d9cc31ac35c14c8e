"""Bytes and files to pictures: formats of ours, regular files, upright."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from saeviz.values.errors import ImageError, SaevizError
from saeviz.values.regular import open_regular

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

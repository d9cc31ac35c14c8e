"""Decode pictures: supported formats only, regular files only, upright."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from saeviz.values.checks import kind_of, said_by
from saeviz.values.errors import DataError, ImageError, LabelError, PluginError, SaevizError
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
"""The supported formats and their Pillow modules. Some of Pillow's other formats run programs, as PostScript does."""
ORIENTATION = 0x0112
CARRIERS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
"""The keys of a picture's `info` that can contain an orientation."""


@cache
def formats() -> tuple[str, ...]:
    """The formats of `READERS` that the installed Pillow can read, by Pillow's names.

    Pillow does not warn of large pictures from then on: one that has too many pixels is refused, and nobody who runs or
    serves a run can do anything about the others. Filters that were set before, such as `-W error`, go before.
    """
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)
    for module in READERS.values():
        with suppress(ImportError):
            import_module(f"PIL.{module}")
    return tuple(name for name in READERS if name in Image.OPEN)


def open_picture(source: Path | bytes) -> Image:
    """The decoded picture, upright, in its own mode; of an animation, the first frame.

    Raises `ImageError` if it cannot be read: it is not a regular file, not in a format of `READERS`, broken, or has
    more pixels than Pillow allows.
    """
    from PIL import UnidentifiedImageError

    try:
        with BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
            return _decoded(file)
    except UnidentifiedImageError as error:
        known = ", ".join(name for name in formats() if name != "DIB")
        raise ImageError(f"it is not in a supported image format ({known})") from error
    except _BROKEN as error:
        raise ImageError(_reason(error)) from error


def size_of(source: Path | bytes) -> tuple[int, int] | None:
    """Width and height, read from the header without decoding; None if `open_picture` cannot read it."""
    from PIL import Image

    try:
        with BytesIO(source) if isinstance(source, bytes) else open_regular(source) as file:
            return Image.open(file, formats=formats()).size
    except (*_BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def drawn(draw: Callable[[], Image]) -> Image:
    """The picture returned by a function, decoded and upright.

    Raises `ImageError` if the function fails or returns something else.

    A `ConfigError` or plain `SaevizError` is passed on: a rejected key, for example, concerns more than one picture.
    """
    from PIL import Image

    with _of_one_picture(draw):
        image = draw()
        if not isinstance(image, Image.Image):
            raise ImageError(f"its function {_name_of(draw)} returned {kind_of(image)}, not a picture")
        if min(image.size) < 1:
            raise ImageError(
                f"its function {_name_of(draw)} returned a picture of {image.width} x {image.height} pixels"
            )
        image.load()
        return upright(image)


def bytes_of(read: Callable[[], bytes]) -> bytes:
    """The bytes of a picture's file, by a method of its function. Raises as `drawn`, and `OSError`."""
    with _of_one_picture(read):
        data = read()
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ImageError(f"its function {_name_of(read)} returned {kind_of(data)}, not bytes")
        return data


@contextmanager
def _of_one_picture(function: Callable[[], object]) -> Iterator[None]:
    """Failures of a picture's function cost that picture only, unless they say that they concern more."""
    try:
        yield
    except ImageError:
        raise
    except (DataError, LabelError, PluginError) as error:
        raise ImageError(f"its function {_name_of(function)} fails: {error}") from error
    except (SaevizError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # foreign code may fail in any way
        is_known = isinstance(error, OSError | ValueError | SyntaxError)
        by = "" if is_known else f"its function {_name_of(function)} raised "
        raise ImageError(by + _reason(error)) from error


def _name_of(function: Callable[[], object]) -> str:
    """The name of a function, of the function in a `partial`, or of the class of an object that can be called."""
    inner = getattr(function, "func", function)
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{named.__module__}.{named.__qualname__}"


def upright(image: Image) -> Image:
    """The picture rotated according to its EXIF orientation, which is then removed; unchanged if that is broken."""
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
"""The exceptions of Pillow's readers for broken files, apart from its two for decompression bombs."""


def _decoded(file: BinaryIO) -> Image:
    from PIL import Image

    try:
        image = Image.open(file, formats=formats())
        image.load()
        return upright(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = (Image.MAX_IMAGE_PIXELS or 0) * (2 if isinstance(error, Image.DecompressionBombError) else 1)
        raise ImageError(
            f"it has more than {limit:,} pixels, as a decompression bomb has, and is not decoded; make it smaller"
        ) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = said_by(error)
    expected = isinstance(error, OSError | ValueError | SyntaxError)
    return said.removeprefix(f"{type(error).__name__}: ") if expected else said

"""The file of a picture, for sending it."""

from __future__ import annotations

from io import BytesIO

from saeviz.pictures.rgb import to_rgb
from saeviz.values.decoding import size_of
from saeviz.values.errors import ImageError
from saeviz.values.images import ImageItem

PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def picture_file(item: ImageItem, most: int | None = None) -> bytes:
    """The unchanged file of an image, or a PNG if its source is a function.

    Raises `ImageError` if it cannot be read, has more than `most` bytes or is not a picture: a stranger's table can
    name any file as a picture, and a private key must never be sent.
    """
    data = item.read_bytes(most)
    if data is None:
        picture, buffer = item.open(), BytesIO()
        (picture if picture.mode in PNG_MODES else to_rgb(picture)).save(buffer, "png")
        return buffer.getvalue()
    if size_of(data) is None:
        raise ImageError(f"image {item.item_id!r} cannot be read: its file is not in an image format that is read here")
    return data

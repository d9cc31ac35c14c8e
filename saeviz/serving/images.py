"""The images of a run, and the file of each."""

from __future__ import annotations

from functools import cached_property
from io import BytesIO
from pathlib import Path
from threading import Lock

from saeviz.pictures.rgb import to_rgb
from saeviz.pipeline.session import Session
from saeviz.serving.limits import MOST_BYTES
from saeviz.values.decoding import size_of
from saeviz.values.errors import ImageError
from saeviz.values.images import ImageItem
from saeviz.values.regular import open_regular

PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class ServedImages:
    """The images of a run, listed once, when the first is asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = Lock()

    def all(self) -> list[ImageItem]:
        """Every image of the run."""
        with self._lock:
            return list(self._items.values())

    def get(self, item_id: str) -> ImageItem | None:
        """One image, None where the run has no such image."""
        with self._lock:
            return self._items.get(item_id)

    @cached_property
    def _items(self) -> dict[str, ImageItem]:
        return {item.item_id: item for item in self._session.dataset.items}


def image_file(item: ImageItem) -> bytes:
    """The file of an image; one that is drawn becomes a PNG. Raises `ImageError` where it is no image."""
    if callable(item.source):
        picture, buffer = item.open(), BytesIO()
        (picture if picture.mode in PNG_MODES else to_rgb(picture)).save(buffer, "png")
        return buffer.getvalue()
    data = item.source if isinstance(item.source, bytes) else _read(item.item_id, item.source)
    if size_of(data) is None:
        raise ImageError(f"image {item.item_id!r} is no image")  # any file may be called one
    return data


def _read(item_id: str, path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"image {item_id!r} cannot be read: {reason}") from error
    if len(data) > MOST_BYTES:
        raise ImageError(f"image {item_id!r} has more than {MOST_BYTES >> 20} MiB")
    return data

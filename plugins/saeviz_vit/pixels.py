"""From whatever a user has in hand to what a vision model takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from saeviz import ImageError, ImageItem
from saeviz.toolkit.images import to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

MAX_ASPECT = 100
"""Resizing the short edge to 224 blows a picture that is much longer than this up to gigabytes."""


def prepare(source: Image | ImageItem | Path, transform: Callable[[Image], T]) -> T:
    """The picture, transformed. Raises `ImageError` where it cannot be read or cannot be transformed."""
    item = ImageItem(str(source), source) if isinstance(source, Path) else source
    image = item.open() if isinstance(item, ImageItem) else item
    name = item.item_id if isinstance(item, ImageItem) else "given"
    try:
        if max(image.size) > MAX_ASPECT * max(min(image.size), 1):
            raise ValueError(f"{image.width} x {image.height} is too long and narrow")
        return transform(to_rgb(image) if _is_wide(image) else image)
    except (OSError, ValueError) as error:
        raise ImageError(f"image {name!r} cannot be prepared for the model: {error}") from error


def _is_wide(image: Image) -> bool:
    """Grey of more than 8 bits, which transforms would clip to white; all other modes are the transform's business."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")

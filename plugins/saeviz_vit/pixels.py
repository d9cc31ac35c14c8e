"""From whatever a user has in hand to what a vision model takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from saeviz import ImageError, ImageItem
from saeviz.toolkit.images import check_shape, to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

T = TypeVar("T")


def prepare(source: Image | ImageItem | Path | str, transform: Callable[[Image], T]) -> T:
    """The picture, transformed. Raises `ImageError` where it cannot be read or cannot be transformed."""
    item = ImageItem(str(source), Path(source)) if isinstance(source, (Path, str)) else source
    image = item.open() if isinstance(item, ImageItem) else item
    name = item.item_id if isinstance(item, ImageItem) else "given"
    try:
        check_shape(image)
        return transform(to_rgb(image) if _is_wide(image) else image)
    except (OSError, ValueError, ImageError) as error:
        raise ImageError(f"image {name!r} cannot be prepared for the model: {error}") from error


def _is_wide(image: Image) -> bool:
    """Grey of more than 8 bits, which transforms would clip to white; all other modes are the transform's business."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


class ByTable:
    """What `steps` make of an 8-bit RGB picture where they treat each channel's values alike: `[3, height, width]`.

    They are asked once for all 256 values, so the numbers are theirs. Looking them up takes no torch operations: in the
    threads that decode, each of those would bring threads of its own and take the processor from the model.
    """

    def __init__(self, steps: Sequence[Callable[[Any], Any]]) -> None:
        import numpy as np
        from PIL import Image

        values: Any = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2))
        for step in steps:
            values = step(values)
        self._table = values[:, 0].numpy()

    def __call__(self, image: Image) -> Tensor:
        """The picture as numbers."""
        import numpy as np
        import torch

        channels = np.asarray(image).transpose(2, 0, 1)
        found = np.empty(channels.shape, np.float32)
        for table, channel, out in zip(self._table, channels, found, strict=True):
            np.take(table, channel, out=out, mode="clip")
        return torch.from_numpy(found)

"""From a path, bytes, item or picture to the input of a vision model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from saeviz.toolkit.images import check_shape, is_deep, is_see_through, to_rgb
from saeviz.values.errors import ImageError
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

T = TypeVar("T")


def prepare(source: Image | ImageItem | Path | str, transform: Callable[[Image], T]) -> T:
    """The picture, upright and transformed. Raises `ImageError` if it cannot be read or transformed.

    Two kinds of picture are converted to 8-bit RGB first: grey of more than 8 bits, which the transform would clip to
    white, and transparent pictures, whose hidden colours it would show. Any other mode is left to the transform:
    open_clip resizes before it converts to RGB, and the published numbers were made like that.
    """
    if isinstance(source, (Path, str)):
        item = ImageItem(str(source), Path(source))
    else:
        item = source if isinstance(source, ImageItem) else ImageItem("given", lambda: source)
    image = item.open()
    try:
        check_shape(image)
        return transform(to_rgb(image) if is_deep(image) or is_see_through(image) else image)
    except (OSError, ValueError, ImageError) as error:
        raise ImageError(f"image {item.item_id!r} cannot be prepared for the model: {error}") from error


def without_crop(transform: Callable[[Image], Tensor]) -> Callable[[Image], Tensor]:
    """A transform composed of steps without those that crop the centre; any other one as it is: it must not crop."""
    steps = [step for step in getattr(transform, "transforms", ()) if "CenterCrop" not in type(step).__name__]

    def whole(image: Image) -> Tensor:
        result: Any = image
        for step in steps:
            result = step(result)
        pixels: Tensor = result
        return pixels

    return whole if steps else transform


class ByTable:
    """What `steps` make of an 8-bit RGB picture if they treat each value of a channel by itself: `[3, height, width]`.

    They are applied once to all 256 values, so the numbers are exactly theirs. A look-up takes no torch operations,
    which in the decoding threads would start threads of their own and slow the model down.
    """

    def __init__(self, steps: Sequence[Callable[[Any], Any]]) -> None:
        import numpy as np
        from PIL import Image

        values: Any = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2))
        for step in steps:
            values = step(values)
        self._table = values[:, 0].numpy()

    def __call__(self, image: Image) -> Tensor:
        """The picture as a tensor `[3, height, width]`."""
        import numpy as np
        import torch

        channels = np.asarray(image).transpose(2, 0, 1)
        found = np.empty(channels.shape, np.float32)
        for table, channel, out in zip(self._table, channels, found, strict=True):
            np.take(table, channel, out=out, mode="clip")
        return torch.from_numpy(found)

"""Where the patches of a model lie on a picture, and finer maps from shifted crops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from saeviz.values.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from saeviz.typing import Float32Array


FINER = 5
"""Cells of a fine map along a side of a patch. Odd, so that the patch's own value lies in the middle one."""


@dataclass(frozen=True)
class Frame:
    """A picture of `size` (width, height), the `pixels` that a model takes and the `whole` that they are cut from."""

    size: tuple[int, int]
    pixels: Tensor
    whole: Tensor
    patch: tuple[int, int]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the area that the patches cover, in pixels of the picture."""
        (top, left), (height, width), (patch_height, patch_width) = self._corner, self._shape, self.patch
        down, across = self.size[1] / self.whole.shape[-2], self.size[0] / self.whole.shape[-1]
        bottom, right = top + height // patch_height * patch_height, left + width // patch_width * patch_width
        return left * across, top * down, right * across, bottom * down

    def windows(self) -> Iterator[Tensor]:
        """The crop shifted by fifths of a patch, row by row from top left; the middle one is unshifted.

        What lies beyond the crop comes from the whole picture, and beyond that from its nearest pixel.
        """
        source, (top, left) = self._surroundings
        height, width = self._shape
        for down in _shifts(self.patch[0]):
            rows = _nearest(top + down, height, source.shape[-2])
            for across in _shifts(self.patch[1]):
                yield source[:, rows][:, :, _nearest(left + across, width, source.shape[-1])]

    @property
    def _shape(self) -> tuple[int, int]:
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @cached_property
    def _corner(self) -> tuple[int, int]:
        """Top and left of the crop in the whole; negative if the model pads.

        Libraries round odd remainders differently, so the crop is searched for rather than computed.
        """
        import torch

        height, width = self._shape
        for top in _middles(self.whole.shape[-2], height):
            for left in _middles(self.whole.shape[-1], width):
                inside = self.whole[:, max(top, 0) : top + height, max(left, 0) : left + width]
                rows, columns = inside.shape[-2:]
                mine = self.pixels[:, max(-top, 0) :, max(-left, 0) :][:, :rows, :columns]
                if torch.equal(mine, inside):
                    return top, left
        raise DataError("the model's transform does not crop the middle of the picture, so it has no heatmaps")

    @property
    def _surroundings(self) -> tuple[Tensor, tuple[int, int]]:
        """What shifted crops are cut from, and where the plain crop lies in it; the model's own padding is extended."""
        padded = any(mine > all_ for mine, all_ in zip(self._shape, self.whole.shape[-2:], strict=True))
        return (self.pixels, (0, 0)) if padded else (self.whole, self._corner)


def _middles(whole: int, part: int) -> list[int]:
    """Where a centred part begins."""
    rest = whole - part
    return sorted({rest // 2, -(-rest // 2)})


def _shifts(patch: int) -> list[int]:
    """Shifts by fifths of a patch in both directions, in whole pixels."""
    reach = FINER // 2
    return [round(step * patch / FINER) for step in range(-reach, reach + 1)]


def _nearest(start: int, length: int, available: int) -> Tensor:
    import torch

    return torch.arange(start, start + length).clamp(0, available - 1)


def run_windows(
    windows: Iterable[Tensor],
    features_of: Callable[[Sequence[Tensor]], Tensor],
    *,
    batch_size: int,
    per_side: int,
) -> Float32Array:
    """Maps `[n, n_features, rows, cols]` of n pictures, from `per_side` squared shifted crops each.

    `features_of` gives `[windows, rows, cols, n_features]`.
    """
    import numpy as np

    source, parts = iter(windows), []
    while chunk := list(islice(source, batch_size)):
        parts.append(features_of(chunk).cpu().numpy())
    found = np.concatenate(parts)
    n_windows, rows, columns, n_features = found.shape
    n = n_windows // per_side**2
    apart = found.reshape(n, per_side, per_side, rows, columns, n_features)
    maps: Float32Array = apart.transpose(0, 5, 3, 1, 4, 2).reshape(n, n_features, rows * per_side, columns * per_side)
    return maps

"""What an extractor needs from a vision model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from saeviz import (
    DataError,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from saeviz.toolkit.openvino import Forward


class Framing(Protocol):
    """A vision model that shows what its crop removes."""

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        ...

    def transform(self, image: Image) -> Tensor:
        """The picture as input of the model, `[3, height, width]`."""
        ...

    def whole(self, image: Image) -> Tensor:
        """The whole picture, prepared in the same way but without the crop, `[3, height, width]`."""
        ...


@dataclass(frozen=True)
class BaseModel:
    """A vision model as its config describes it.

    `names` are the names it is known by, empty if unknown (a weights file); `published` says that they
    are hub ids rather than names of local folders. `image_size` is the edge of the square picture that it is given and
    `patch_size` that of a patch, in pixels, None where they are not known beforehand.
    """

    label: str
    names: tuple[str, ...]
    published: bool
    width: int
    n_blocks: int
    image_size: int | None = None
    patch_size: int | None = None

    @property
    def n_patches(self) -> int | None:
        """Number of patches of a picture."""
        return (self.image_size // self.patch_size) ** 2 if self.image_size and self.patch_size else None


@dataclass(frozen=True)
class Activations:
    """Outputs of blocks: per layer `[n, tokens, width]`, the patches last and row-major over `grid`.

    The grid is (0, 0) if there are class tokens only.
    """

    layers: Mapping[int, Tensor]
    grid: tuple[int, int]

    @property
    def n_patches(self) -> int:
        """Number of tokens that are patches."""
        return self.grid[0] * self.grid[1]

    def has_cls(self, layer: int) -> bool:
        """Whether the model has a class token."""
        return self.layers[layer].shape[1] > self.n_patches

    def cls(self, layer: int) -> Tensor:
        """The class token `[n, width]`. Raises `DataError` if the model has none."""
        tokens = self.layers[layer]
        if not self.has_cls(layer):
            raise DataError("extractor.tokens: this vision model has no class token; use patch-max or patch-mean")
        return tokens[:, 0]

    def patches(self, layer: int) -> Tensor:
        """The patch tokens `[n, patches, width]`."""
        return self.layers[layer][:, -self.n_patches :]


class VisionModel(Framing, Protocol):
    """A vision transformer. Its weights are loaded on first use of `transform` or `activations`."""

    @property
    def base(self) -> BaseModel:
        """The model as its config describes it; needs no weights."""
        ...

    @property
    def commit(self) -> str | None:
        """Hub commit that the model was loaded from; None for local files."""
        ...

    def load(self) -> None:
        """Load everything now, before threads need it."""
        ...

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """Rows and columns of patches for pixels of this shape."""
        ...

    def activations(self, pixels: Tensor, layers: Sequence[int]) -> Activations:
        """Outputs of some blocks, from one forward pass in torch that stops after the last of them."""
        ...

    def tap(self, layers: Sequence[int], *, cls_only: bool = False) -> tuple[Any, Forward]:
        """For an engine: the torch module, and a function of module and pixels that gives the outputs of some blocks.

        They are `[n, tokens, width]` per layer in order, with `cls_only` `[n, 1, width]`.
        """
        ...

"""What an extractor needs of a vision model."""

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
    """A vision model that can say what it cuts off."""

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        ...

    def transform(self, image: Image) -> Tensor:
        """The picture as the model wants it, `[3, height, width]`."""
        ...

    def whole(self, image: Image) -> Tensor:
        """The same before the crop, `[3, height, width]` of the whole picture."""
        ...


@dataclass(frozen=True)
class BaseModel:
    """A vision model as its config describes it.

    `names` are what it is known by, none where that cannot be told (a weights file); `published` says that they
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
        """How many patches a picture has."""
        return (self.image_size // self.patch_size) ** 2 if self.image_size and self.patch_size else None


@dataclass(frozen=True)
class Activations:
    """Outputs of blocks: per layer `[n, tokens, width]`, the patches last and row-major over `grid`.

    The grid is (0, 0) where these are class tokens only.
    """

    layers: Mapping[int, Tensor]
    grid: tuple[int, int]

    @property
    def n_patches(self) -> int:
        """How many of the tokens are patches."""
        return self.grid[0] * self.grid[1]

    def has_cls(self, layer: int) -> bool:
        """Whether the model has a class token."""
        return self.layers[layer].shape[1] > self.n_patches

    def cls(self, layer: int) -> Tensor:
        """The class token `[n, width]`. Raises `DataError` for a model that has none."""
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
        """What it is, known without its weights."""
        ...

    @property
    def commit(self) -> str | None:
        """The commit of the hub that it came from, None for local files."""
        ...

    def load(self) -> None:
        """Load everything now, before threads ask for it."""
        ...

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """Rows and columns of patches of such pictures."""
        ...

    def activations(self, pixels: Tensor, layers: Sequence[int]) -> Activations:
        """The outputs of some blocks, from one pass through torch that ends behind the last of them."""
        ...

    def tap(self, layers: Sequence[int], *, cls_only: bool = False) -> tuple[Any, Forward]:
        """For an engine: the torch module, and what computes from it and pixels the outputs of some blocks.

        They are `[n, tokens, width]` per layer in order, with `cls_only` `[n, 1, width]`.
        """
        ...

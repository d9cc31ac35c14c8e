"""What an extractor needs from a vision model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from saeviz import Context, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

    from saeviz.toolkit.openvino import Forward


Hook = Literal["resid_post", "mlp_out", "attn_out", "embedding"]


class HookPoint(NamedTuple):
    """A place in a model where activations are read, by the names of TransformerLens and ViT-Prisma.

    `resid_post` is the output of block `layer`, `mlp_out` and `attn_out` are what its MLP and its attention add to the
    residual stream. `embedding` is the image embedding of the whole model, which belongs to no layer.
    """

    layer: int | None
    hook: Hook = "resid_post"


@contextmanager
def recorded(modules: Mapping[HookPoint, Module]) -> Iterator[dict[HookPoint, Tensor]]:
    """The outputs of modules, filled in while the model runs; the first one where a module gives several."""
    seen: dict[HookPoint, Tensor] = {}

    def keep(point: HookPoint) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            seen[point] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [module.register_forward_hook(keep(point)) for point, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


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
    `patch_size` that of a patch, in pixels, None where they are not known beforehand. `embed_dim` is the length of an
    image embedding, None if the model has none.
    """

    label: str
    names: tuple[str, ...]
    published: bool
    width: int
    n_blocks: int
    image_size: int | None = None
    patch_size: int | None = None
    embed_dim: int | None = None

    @property
    def n_patches(self) -> int | None:
        """Number of patches of a picture."""
        return (self.image_size // self.patch_size) ** 2 if self.image_size and self.patch_size else None


def placed(context: Context) -> Context:
    """The context with a place for messages, also for an extractor that belongs to no run."""
    return context if context.place else replace(context, place="extractor")


@dataclass(frozen=True)
class Activations:
    """What was read: per hook point `[n, tokens, width]`, the patches last and row-major over `grid`.

    The grid is (0, 0) if there are class tokens only. An embedding is one token, `[n, 1, dim]`. `option` is the one
    that says which tokens are asked for.
    """

    states: Mapping[HookPoint, Tensor]
    grid: tuple[int, int]
    option: str = "extractor.tokens"

    @property
    def n_patches(self) -> int:
        """Number of tokens that are patches."""
        return self.grid[0] * self.grid[1]

    def has_cls(self, point: HookPoint) -> bool:
        """Whether there is a token for the whole image: a class token or an embedding."""
        return point.hook == "embedding" or self.states[point].shape[1] > self.n_patches

    def cls(self, point: HookPoint) -> Tensor:
        """The class token or the embedding `[n, width]`. Raises `DataError` if the model has no class token."""
        if not self.has_cls(point):
            raise DataError(f"{self.option}: this vision model has no class token; use patch-max or patch-mean")
        return self.states[point][:, 0]

    def patches(self, point: HookPoint) -> Tensor:
        """The patch tokens `[n, patches, width]`; none of an embedding."""
        if point.hook == "embedding":
            return self.states[point][:, :0]
        return self.states[point][:, -self.n_patches :]


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

    @property
    def files(self) -> Sequence[Path]:
        """The files with the weights, downloaded if need be. Raises `DataError` if they cannot be found."""
        ...

    def load(self) -> None:
        """Load everything now, before threads need it."""
        ...

    def grid(self, pixels: Tensor) -> tuple[int, int]:
        """Rows and columns of patches for pixels of this shape."""
        ...

    def activations(self, pixels: Tensor, points: Sequence[HookPoint]) -> Activations:
        """What some hook points give, from one forward pass in torch that stops after the last of them."""
        ...

    def tap(self, points: Sequence[HookPoint], *, cls_only: bool = False) -> tuple[Any, Forward]:
        """For an engine: the torch module, and a function of module and pixels that gives what is read at `points`.

        That is `[n, tokens, width]` per point in order, with `cls_only` `[n, 1, width]`.
        """
        ...

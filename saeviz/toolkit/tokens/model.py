"""What the author of an extractor gives: a model, how it takes pictures, and the tokens that it makes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from saeviz.contract.context import Context
from saeviz.pictures.rgb import to_rgb
from saeviz.toolkit.hub import commit_of
from saeviz.toolkit.sae.options import Hook, HookPoint, SAEOptions
from saeviz.toolkit.tokens.pixels import without_crop
from saeviz.toolkit.torch import torch_device, torch_dtype
from saeviz.values.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

    from saeviz.toolkit.embed import Transform


class TokenGrid(NamedTuple):
    """What n images give at a hook point: `patches` `[n, rows, cols, d]` and, where there is one, the class token.

    That is `[n, d]`. A place that has no patches, such as the embedding of the whole image, has `patches=None` and this
    one vector as `cls`.
    """

    patches: Tensor | None
    cls: Tensor | None = None

    @classmethod
    def of(cls, states: Tensor, grid: tuple[int, int]) -> TokenGrid:
        """From `[n, tokens, d]` with the patches last, row-major over `grid`.

        The first of the tokens before them is the class token; others, such as registers, are left out.
        """
        rows, columns = grid
        n_before = states.shape[1] - rows * columns
        patches = states[:, n_before:].reshape(-1, rows, columns, states.shape[-1])
        return cls(patches, states[:, 0] if n_before else None)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return (0, 0) if self.patches is None else (int(self.patches.shape[1]), int(self.patches.shape[2]))

    @property
    def joined(self) -> Tensor:
        """All tokens `[n, tokens, d]`, the class token first."""
        import torch

        cls = [] if self.cls is None else [self.cls[:, None]]
        patches = [] if self.patches is None else [self.patches.flatten(1, 2)]
        parts = [*cls, *patches]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


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


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a vision model before it is loaded, to compare with what SAEs were trained on.

    `names` are the names it is known by, empty if unknown (a weights file); `published` says that they
    are hub ids rather than names of local folders. `image_size` is the edge of the square picture that it is given and
    `patch_size` that of a patch, in pixels. `embed_dim` is the length of an image embedding. What is not known
    beforehand is None.
    """

    label: str
    names: tuple[str, ...] = ()
    published: bool = False
    width: int | None = None
    n_blocks: int | None = None
    image_size: int | None = None
    patch_size: int | None = None
    embed_dim: int | None = None

    @property
    def n_patches(self) -> int | None:
        """Number of patches of a picture."""
        return (self.image_size // self.patch_size) ** 2 if self.image_size and self.patch_size else None


@dataclass(frozen=True)
class Activations:
    """What was read: per hook point `[n, tokens, width]`, the patches last and row-major over its grid.

    A point without a grid has class tokens only, or one token that is the embedding of the image. `option` is the one
    that says which tokens are asked for.
    """

    states: Mapping[HookPoint, Tensor]
    grids: Mapping[HookPoint, tuple[int, int]]
    option: str = "extractor.tokens"

    def grid(self, point: HookPoint) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.grids.get(point, (0, 0))

    def has_cls(self, point: HookPoint) -> bool:
        """Whether there is a token for the whole image: a class token or an embedding."""
        return self._n_before(point) > 0

    def cls(self, point: HookPoint) -> Tensor:
        """The class token or the embedding `[n, width]`. Raises `DataError` if the model has no class token."""
        if not self.has_cls(point):
            raise DataError(f"{self.option}: this vision model has no class token; use patch-max or patch-mean")
        return self.states[point][:, 0]

    def patches(self, point: HookPoint) -> Tensor:
        """The patch tokens `[n, patches, width]`; none of an embedding."""
        return self.states[point][:, max(0, self._n_before(point)) :]

    def _n_before(self, point: HookPoint) -> int:
        rows, columns = self.grid(point)
        return self.states[point].shape[1] - rows * columns


class TokenModel(ABC):
    """A vision model for `TokenExtractor`: `load` and `tokens` are needed, the rest has defaults."""

    hooks: ClassVar[tuple[Hook, ...]] = ("resid_post",)
    """The hook points of a layer that `tokens` can give."""

    def __init__(self, options: SAEOptions, context: Context) -> None:
        self.options = options
        self.context = context

    @abstractmethod
    def load(self) -> tuple[Transform, Module]:
        """The transform of an RGB picture to `[channels, height, width]`, and the model. Called once.

        The transform runs in threads. The model is moved to the device and precision of the run. Raises `DataError` for
        files that are missing or cannot be used.
        """

    @abstractmethod
    def tokens(self, model: Any, pixels: Tensor, points: Sequence[HookPoint]) -> Sequence[Tensor | TokenGrid]:
        """The tokens of a batch `[n, channels, height, width]` at each of some hook points, in their order.

        A `TokenGrid`, or patches `[n, rows, cols, d]` of a model without class token. Must consist of torch operations,
        which an engine may compile. What is behind the last point need not be computed.
        """

    def class_tokens(self, model: Any, pixels: Tensor, points: Sequence[HookPoint]) -> Sequence[Tensor]:
        """Class tokens or embeddings `[n, d]` only; overridden where they take less than all tokens."""
        found = [tokens.cls for tokens in self.tokens(model, pixels, points) if isinstance(tokens, TokenGrid)]
        return [tokens for tokens in found if tokens is not None]

    @property
    def info(self) -> ModelInfo:
        """What is known of the model before it is loaded; by default the name or folder in the option `model`."""
        source = str(getattr(self.options, "model", ""))
        if not source:
            return ModelInfo(type(self).__name__)
        folder = Path(source).expanduser()
        return ModelInfo(source, (folder.resolve().name,)) if folder.exists() else ModelInfo(source, (source,), True)

    @property
    def commit(self) -> str | None:
        """Hub commit that the model was loaded from; None for local files."""
        files = self.files
        return commit_of(files[0]) if files else None

    @property
    def files(self) -> Sequence[Path]:
        """The files with the weights of the model, downloaded if need be."""
        return ()

    def transform(self, image: Image) -> Tensor:
        """The picture as input of the model."""
        return self.loaded[0](to_rgb(image))

    def whole(self, image: Image) -> Tensor:
        """The same without what a crop removes; to be overridden where `without_crop` does not know the transform."""
        return without_crop(self.loaded[0])(to_rgb(image))

    @cached_property
    def loaded(self) -> tuple[Transform, Any]:
        """What `load` gives, ready to run."""
        transform, model = self.load()
        return transform, model.eval().to(torch_device(self.context), torch_dtype(self.context, self.options.precision))


def placed(context: Context) -> Context:
    """The context with a place for messages, also for an extractor that belongs to no run."""
    return context if context.place else replace(context, place="extractor")

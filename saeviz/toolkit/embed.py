"""Shared by embedding providers on torch: finding a model's files, preparing the model, looping over batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.contract.context import Context
from saeviz.contract.mixins import OneItemEmbeddings
from saeviz.toolkit.decode import decode_ahead
from saeviz.toolkit.engine import EngineChoice, Runner
from saeviz.toolkit.hub import fetch
from saeviz.toolkit.images import check_shape, to_rgb
from saeviz.toolkit.model_folders import check_folder
from saeviz.toolkit.torch import first_line, loading_errors, torch_device, torch_dtype
from saeviz.values.errors import DataError
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from saeviz.typing import Float32Array

    Transform = Callable[[Image], torch.Tensor]
    Forward = Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]


WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model in a local folder or a hub repository, each fetched when first needed.

    `option` is the name of the option that gave `source`; error messages quote it.
    """

    source: str
    names: tuple[str, ...]
    option: str
    context: Context
    revision: str | None = None

    def folder_with(self, *names: str) -> Path:
        """The local folder of the first of `names` that exists.

        Raises `DataError` if none can be found (the message lists all files needed), or if settings in the folder ask
        for code to be run.
        """
        try:
            file = fetch(self.source, names, context=self.context, revision=self.revision, option=self.option)
        except DataError as error:
            raise DataError(f"{error} (files needed: {', '.join(self.names)})") from error
        if file.name not in names:
            raise DataError(f"{self.option}: {file} is a file; give a folder with {', '.join(self.names)}")
        return check_folder(file.parent, self.option)

    def folder(self) -> Path:
        """The local folder of all of its files. Raises `DataError` if one cannot be found."""
        return [self.folder_with(name) for name in self.names][-1]

    def weights(self) -> list[Path]:
        """The file with the weights, without reading it; see `saeviz.HasModelFiles`."""
        return [self.folder_with(WEIGHTS) / WEIGHTS]

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns errors of model libraries about unusable files into `DataError`."""
        try:
            yield
        except loading_errors() as error:
            raise DataError(
                f"{self.option}: {self.source} cannot be loaded ({type(error).__name__}: {first_line(error)}); "
                f"it must contain matching files {', '.join(self.names)}"
            ) from error


class TorchEmbeddings(OneItemEmbeddings, ABC):
    """An embedding provider around a torch model; a subclass defines `dim` and `load`."""

    def __init__(self, batch_size: int, context: Context, engine: EngineChoice = "auto") -> None:
        self.batch_size = batch_size
        self.context = context
        self.engine = engine

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of one embedding, known without the weights."""

    @abstractmethod
    def load(self) -> tuple[Transform, torch.nn.Module, Forward]:
        """The transform of a picture, the model, and the forward function. Called once, before the first image.

        The transform maps an RGB picture to `[channels, height, width]`; it runs in threads. The model must be on the
        device and in the precision of the context. The forward function maps the model and a batch `[n, channels,
        height, width]` to `[n, dim]` and must consist of torch operations.
        """

    @property
    def provenance(self) -> dict[str, Any]:
        """The engine that ran the model; its value is None before the first image."""
        return {"engine": self._loaded[1].engine if "_loaded" in self.__dict__ else None}

    def embed(self, items: Sequence[ImageItem]) -> Float32Array:
        """Embeddings `[n, dim]`, float32, not normalised; an unreadable picture is reported and its row is NaN.

        Raises `DataError` if the output of the model has another shape.
        """
        import numpy as np

        transform, runner = self._loaded
        embeddings = np.full((len(items), self.dim), np.nan, dtype=np.float32)
        rows = iter(enumerate(items))
        for readable, pictures in decode_ahead(
            items, lambda item: _prepared(item, transform), batch_size=self.batch_size, context=self.context
        ):
            # A batch keeps the order of the items and leaves out the unreadable ones.
            kept = [next(row for row, candidate in rows if candidate is item) for item in readable]
            embeddings[kept] = self._rows(runner, pictures)
        return embeddings

    @cached_property
    def _loaded(self) -> tuple[Transform, Runner]:
        transform, model, forward = self.load()
        self._try_out(transform, model, forward)
        runner = Runner(
            model,
            lambda model, pixels: [forward(model, pixels)],
            choice=self.engine,
            option=self.context.option("engine"),
            context=self.context,
        )
        return transform, runner

    def _try_out(self, transform: Transform, model: torch.nn.Module, forward: Forward) -> None:
        """Raise `DataError` if transform and model fail on a grey picture or give NaN: no picture is to blame."""
        import torch
        from PIL import Image

        option = self.context.option("model")
        try:
            pixels = transform(Image.new("RGB", (256, 192), (124, 116, 104)))
            with torch.inference_mode():
                rows = forward(model, pixels[None].to(torch_device(self.context), torch_dtype(self.context)))
        except loading_errors() as error:
            raise DataError(
                f"{option}: the model cannot embed a picture ({type(error).__name__}: {first_line(error)}); its "
                "configuration, the settings of its image processor and its weights must belong together"
            ) from error
        if not rows.isfinite().all():
            raise DataError(
                f"{option}: the model gives NaN or infinity for a grey picture; its weights or the settings of its "
                "image processor are damaged, so get the model again"
            )

    def _rows(self, runner: Runner, pictures: Sequence[torch.Tensor]) -> Float32Array:
        import torch

        (output,) = runner(torch.stack(list(pictures)))
        if output.shape != (len(pictures), self.dim):
            raise DataError(f"the model gives embeddings of shape {(*output.shape,)}, not {(len(pictures), self.dim)}")
        rows: Float32Array = output.float().cpu().numpy()
        return rows


def _prepared(item: ImageItem, transform: Transform) -> torch.Tensor:
    image = item.open()
    check_shape(image)
    return transform(to_rgb(image))


def to_inference(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    """The model on the device and in the precision of the context, in evaluation mode and without gradients."""
    return model.eval().requires_grad_(False).to(torch_device(context), torch_dtype(context))

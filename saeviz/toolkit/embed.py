"""What torch image embeddings share: the files of a model, the model made ready, the loop over batches."""

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


@dataclass(frozen=True)
class ModelFiles:
    """The files `names` of one model in a local folder or a hub repository, each fetched when it is needed.

    `option` is the option that named the `source`, for error texts.
    """

    source: str
    names: tuple[str, ...]
    option: str
    context: Context
    revision: str | None = None

    def folder_with(self, *names: str) -> Path:
        """The local folder that holds the first of `names` that there is.

        Raises `DataError` that lists all files where it cannot be had, and where the folder wants code to be run.
        """
        try:
            file = fetch(self.source, names, context=self.context, revision=self.revision, option=self.option)
        except DataError as error:
            raise DataError(f"{error} (all that is needed: {', '.join(self.names)})") from error
        if file.name not in names:
            raise DataError(f"{self.option}: {file} is a file; give a folder with {', '.join(self.names)}")
        return check_folder(file.parent, self.option)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what libraries raise over unusable files into `DataError`."""
        try:
            yield
        except loading_errors() as error:
            raise DataError(
                f"{self.option}: {self.source} cannot be loaded ({type(error).__name__}: {first_line(error)}); "
                f"it must hold {', '.join(self.names)} that belong together"
            ) from error


class TorchEmbeddings(OneItemEmbeddings, ABC):
    """An embedding provider around a torch model; a subclass says how long a row is and what computes it."""

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
        """What prepares a picture, the model, and what embeds a batch with it. Called once, at the first image.

        The first gets a picture in RGB and gives `[channels, height, width]`; it runs in threads. The model is on the
        device and in the precision of the context; the last maps it and `[n, channels, height, width]` to `[n, dim]`
        by torch operations.
        """

    @property
    def provenance(self) -> dict[str, Any]:
        """What ran the model, None before the first image."""
        return {"engine": self._loaded[1].engine if "_loaded" in self.__dict__ else None}

    def embed(self, items: Sequence[ImageItem]) -> Float32Array:
        """`[n, dim]` float32, a row per item, not normalised; an unreadable picture is reported and gives NaN.

        Raises `DataError` where the model gives another shape.
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
        runner = Runner(
            model,
            lambda model, pixels: [forward(model, pixels)],
            choice=self.engine,
            option=self.context.option("engine"),
            context=self.context,
        )
        return transform, runner

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
    """The model on the device and in the precision of the context, without dropout and gradients."""
    return model.eval().requires_grad_(False).to(torch_device(context), torch_dtype(context))

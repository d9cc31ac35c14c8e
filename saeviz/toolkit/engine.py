"""Run a vision model on torch or, on the CPU, on OpenVINO, which gives the same numbers in less time."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from saeviz.contract.context import Context, Precision
from saeviz.contract.options import NEUTRAL, Options
from saeviz.toolkit.openvino import OpenVino, OpenVinoError
from saeviz.toolkit.torch import torch_device, torch_dtype
from saeviz.values.errors import ConfigError, PluginError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from saeviz.toolkit.openvino import Forward


INSTALL = "pip install 'saeviz[openvino]'"
TOLERANCE: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 3e-2}
"""Largest allowed difference between OpenVINO and torch, relative to the largest value of an output."""
IMAGES_CHECKED = 4


def _can_be_had(engine: str) -> str:
    if engine == "openvino" and find_spec("openvino") is None:
        raise ValueError(f"openvino is not installed: {INSTALL}, or use 'auto' or 'torch'")
    return engine


EngineChoice = Annotated[Literal["auto", "torch", "openvino"], AfterValidator(_can_be_had)]
"""The type of an option `engine`; `ENGINE_HELP` describes it."""
ENGINE_HELP = (
    "what runs the model: torch; openvino (CPU only); auto: openvino if it is installed and agrees with torch on "
    "the first images, else torch (the manifest records which)"
)


class EngineOptions(Options):
    """Options of whatever computes with a vision model; the plugin's own derive from it."""

    batch_size: Annotated[int, NEUTRAL] = Field(default=32, ge=1, le=65_536, description="images per forward pass")
    engine: EngineChoice = Field(default="auto", description=ENGINE_HELP)


class Runner:
    """Computes `forward(model, batch)` on the engine given by `choice`; "auto" decides at the first batch.

    `model` must be on the device and in the precision of the run; `forward` must consist of torch operations. `option`
    is the full name of the option, for messages. With the choice "openvino", raises `PluginError` if OpenVINO cannot
    run the model or differs from torch, and `ConfigError` if the run's device is not the CPU.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        forward: Forward,
        *,
        choice: EngineChoice,
        option: str,
        context: Context,
        precision: Precision | None = None,
        name: str = "the model",
    ) -> None:
        self._model = model
        self._forward = forward
        self._choice = choice
        self._option = option
        self._context = context
        self._precision = precision or context.precision
        self._name = name
        self._compiled: OpenVino | None = None
        self.engine: str | None = None
        """The engine in use and its version, such as "torch 2.9"; None before the first batch."""

    def __call__(self, batch: Tensor) -> Sequence[Tensor]:
        """The outputs for a float32 batch `[n, channels, height, width]`, each with n rows."""
        if self.engine is None:
            self._compiled = self._compile(batch)
            self.engine = f"openvino {version('openvino')}" if self._compiled else f"torch {version('torch')}"
            self._context.logger.info("%s: %s runs on %s", self._option, self._name, self.engine)
        if self._compiled is not None and self._compiled.item_shape == batch.shape[1:]:
            return self._compiled(batch)
        return self._by_torch(batch)

    def _by_torch(self, batch: Tensor) -> Sequence[Tensor]:
        import torch

        moved = batch.to(torch_device(self._context), torch_dtype(self._context, self._precision))
        with torch.inference_mode():
            return self._forward(self._model, moved)

    def _compile(self, batch: Tensor) -> OpenVino | None:
        """The model compiled by OpenVINO and checked on the first batch, or None to use torch."""
        device = torch_device(self._context)
        if self._choice == "openvino" and device.type != "cpu":
            raise ConfigError(f"{self._option} = 'openvino' needs run.device = 'cpu', not {device}")
        if self._choice == "torch" or device.type != "cpu":
            return None
        try:
            if find_spec("openvino") is None:
                raise OpenVinoError(f"it is not installed ({INSTALL})")
            # OpenVINO converts to the precision itself.
            model = self._model if self._precision == "float32" else deepcopy(self._model).float()
            compiled = OpenVino(model, self._forward, batch, self._precision)
            self._compare(compiled(batch), model, batch)
        except OpenVinoError as error:
            if self._choice == "openvino":
                raise PluginError(f"{self._option} = 'openvino': {error}; use 'auto' or 'torch'") from error
            self._context.logger.info("%s: %s does not run on openvino: %s", self._option, self._name, error)
            return None
        return compiled

    def _compare(self, found: Sequence[Tensor], model: torch.nn.Module, batch: Tensor) -> None:
        import torch

        rows = torch.linspace(0, len(batch) - 1, min(IMAGES_CHECKED, len(batch))).long()
        with torch.inference_mode():
            expected = self._forward(model, batch[rows])
        allowed = TOLERANCE[self._precision]
        for ours, torchs in zip(found, expected, strict=True):
            if ours.shape != (len(batch), *torchs.shape[1:]):
                raise OpenVinoError(f"the output has the shape {tuple(ours.shape)} for {len(batch)} images")
            difference, largest = float((ours[rows] - torchs).abs().max()), float(torchs.abs().max())
            if not difference <= allowed * largest:
                error = difference / largest if largest else float("inf")
                raise OpenVinoError(
                    f"its output differs from torch's by {error:.1e} of the largest value; {allowed:.0e} is allowed"
                )

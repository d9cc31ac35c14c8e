"""A torch model compiled by OpenVINO for the CPU."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from saeviz.context import Precision
from saeviz.toolkit.torch import first_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Forward = Callable[[torch.nn.Module, Tensor], Sequence[Tensor]]

PACKAGE, TELEMETRY = "openvino", "openvino_telemetry"
HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoError(Exception):
    """OpenVINO cannot be imported, or cannot convert, compile or run the model."""


class OpenVino:
    """`forward(model, batch)` for any number of items of the shape of those in `batch`.

    The weights are float32, `precision` is the one that the hardware computes in. Compiling takes seconds.
    Raises `OpenVinoError`.
    """

    def __init__(self, model: torch.nn.Module, forward: Forward, batch: Tensor, precision: Precision) -> None:
        import torch

        openvino = import_openvino()
        self.item_shape = batch.shape[1:]
        # Not as many images as in the batch, so that a trace that depends on their number is found out with it.
        example = torch.zeros(3 if len(batch) == 2 else 2, *self.item_shape)
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                trace: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                    _module(model, forward), example, check_trace=False
                )
                graph = openvino.convert_model(trace, example_input=example)
            graph.reshape([-1, *self.item_shape])
            self._request = openvino.Core().compile_model(graph, "CPU", settings).create_infer_request()
        except _errors(openvino) as error:
            raise OpenVinoError(first_line(error)) from error

    def __call__(self, batch: Tensor) -> list[Tensor]:
        """The outputs, float32 with n rows each."""
        import torch

        try:
            found = self._request.infer([batch.contiguous().numpy()], share_inputs=True)
        except RuntimeError as error:
            raise OpenVinoError(f"it fails on {len(batch)} images: {first_line(error)}") from error
        return [torch.from_numpy(found[number]) for number in range(len(found))]


def _module(model: torch.nn.Module, forward: Forward) -> torch.nn.Module:
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: Tensor) -> tuple[Tensor, ...]:
            return tuple(forward(self.model, batch))

    return Whole().eval()


def import_openvino() -> Any:
    """The package, without the telemetry that it sends on every import where it can. Raises `OpenVinoError`."""
    silence = not {PACKAGE, TELEMETRY} & set(sys.modules)
    if silence:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise OpenVinoError(f"it cannot be imported: {first_line(error)}") from error
    finally:
        if silence:
            del sys.modules[TELEMETRY]
    return openvino


def _errors(openvino: Any) -> tuple[type[Exception], ...]:
    """The frontend's own errors have no common base."""
    kinds = ("General", "Initialization", "NotImplemented", "OpConversion", "OpValidation")
    own = tuple(getattr(openvino.frontend, f"{kind}Failure") for kind in kinds)
    return (*own, RuntimeError, ValueError, TypeError, LookupError, AttributeError)

"""A torch model compiled by OpenVINO for the CPU."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from saeviz.contract.context import Precision

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Forward = Callable[[torch.nn.Module, Tensor], Sequence[Tensor]]

PACKAGE, TELEMETRY = "openvino", "openvino_telemetry"
ITEMS_PER_STREAM = 4
"""Streams run independently, but each reads all weights, so each gets at least this many items."""
HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoError(Exception):
    """OpenVINO cannot be imported, or cannot convert, compile or run the model."""


class OpenVino:
    """`forward(model, batch)` compiled for any number of items of the same shape as those in `batch`.

    `model` has float32 weights; `precision` is the precision of the computation. Compiling takes seconds. Raises
    `OpenVinoError`.
    """

    def __init__(self, model: torch.nn.Module, forward: Forward, batch: Tensor, precision: Precision) -> None:
        import torch

        openvino = import_openvino()
        self.item_shape = batch.shape[1:]
        # Another number of images than in the batch, to expose a trace that depends on the number.
        example = torch.zeros(3 if len(batch) == 2 else 2, *self.item_shape)
        n_threads = torch.get_num_threads()
        n_streams = max(1, min(n_threads, len(batch) // ITEMS_PER_STREAM))
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": n_threads,
            "NUM_STREAMS": n_streams,
            # Every process would bind its threads to the first cores, so that several took turns on these.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                trace: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                    _module(model, forward), example, check_trace=False
                )
                graph = openvino.convert_model(trace, example_input=example)
            graph.reshape([-1, *self.item_shape])
            compiled = openvino.Core().compile_model(graph, "CPU", settings)
            self._requests = [compiled.create_infer_request() for _ in range(n_streams)]
            self._n_outputs = len(compiled.outputs)
        except _errors(openvino) as error:
            raise OpenVinoError(_reason(error)) from error

    def __call__(self, batch: Tensor) -> list[Tensor]:
        """The outputs, float32, each with n rows."""
        import torch

        parts = [part.contiguous().numpy() for part in batch.chunk(len(self._requests))]
        requests = self._requests[: len(parts)]
        try:
            for request, part in zip(requests, parts, strict=True):
                request.start_async([part], share_inputs=True)
            for request in requests:
                request.wait()
        except RuntimeError as error:
            raise OpenVinoError(f"inference failed on {len(batch)} images: {_reason(error)}") from error
        return [
            torch.cat([torch.from_numpy(request.get_output_tensor(number).data) for request in requests])
            for number in range(self._n_outputs)
        ]


def _module(model: torch.nn.Module, forward: Forward) -> torch.nn.Module:
    """The model as a module without submodules: tracing reads every attribute of submodules, and some of these warn."""
    import torch

    model.requires_grad_(False)

    class Whole(torch.nn.Module):
        def forward(self, batch: Tensor) -> tuple[Tensor, ...]:
            return tuple(forward(model, batch))

    return Whole().eval()


def import_openvino() -> Any:
    """Import openvino with its telemetry disabled. Raises `OpenVinoError` if that fails."""
    silence = not {PACKAGE, TELEMETRY} & set(sys.modules)
    if silence:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise OpenVinoError(f"it cannot be imported: {_reason(error)}") from error
    finally:
        if silence:
            del sys.modules[TELEMETRY]
    return openvino


def _errors(openvino: Any) -> tuple[type[Exception], ...]:
    """The frontend's own errors have no common base."""
    kinds = ("General", "Initialization", "NotImplemented", "OpConversion", "OpValidation")
    own = tuple(getattr(openvino.frontend, f"{kind}Failure") for kind in kinds)
    return (*own, RuntimeError, ValueError, TypeError, LookupError, AttributeError)


def _reason(error: Exception) -> str:
    """The last line of the message; the others are locations in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

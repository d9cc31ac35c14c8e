"""Where torch runs and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saeviz.context import Context, Precision
from saeviz.errors import ConfigError

if TYPE_CHECKING:
    import torch


def torch_device(context: Context) -> torch.device:
    """The device that `context.device` means; `auto` takes CUDA, then MPS, then the CPU.

    Raises `ConfigError` for a device that torch does not have here.
    """
    import torch

    if context.device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(context.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"run.device = {context.device!r}: torch has no such device here ({reason})") from error
    return device


def torch_dtype(context: Context, precision: Precision | None = None) -> torch.dtype:
    """`precision` as a torch dtype, by default the run's."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision or context.precision]

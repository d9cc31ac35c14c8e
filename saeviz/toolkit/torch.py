"""Where torch runs and in which precision."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from saeviz.contract.context import Context, Precision
from saeviz.values.errors import ConfigError

if TYPE_CHECKING:
    import torch

SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")
ADVICE = re.compile(
    r"trust_remote_code|weights_only|allow_pickle|safe_globals|use_safetensors|run the custom code"
    r"|\b(HF|TRANSFORMERS|TORCH|TIMM)_[A-Z_]+\b"
)


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


def loading_errors() -> tuple[type[Exception], ...]:
    """What torch, safetensors and the libraries on top of them raise for files that are not the weights they want."""
    import struct
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    of_files = (OSError, EOFError, UnpicklingError, SafetensorError, struct.error)
    of_content = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError)
    return (*of_files, *of_content, ImportError, MemoryError)


def first_line(error: Exception) -> str:
    """The beginning of an error's text; such libraries tell stories of a hundred lines.

    Without the sentences that advise to switch a safeguard off: a file that needs that is not to be read.
    """
    line = next((line for line in str(error).splitlines() if line.strip()), "")
    kept = [sentence for sentence in SENTENCE_END.split(line) if not ADVICE.search(sentence)]
    return " ".join(kept) or type(error).__name__

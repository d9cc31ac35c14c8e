"""Choose torch's device and precision, and explain its errors."""

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
    """The device for `context.device`; `auto` means CUDA if available, else MPS, else the CPU.

    Raises `ConfigError` if torch has no such device on this machine.
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
        raise ConfigError(
            f"run.device = {context.device!r}: torch has no such device on this machine ({reason})"
        ) from error
    return device


def torch_dtype(context: Context, precision: Precision | None = None) -> torch.dtype:
    """`precision` as a torch dtype, by default the run's."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision or context.precision]


def loading_errors() -> tuple[type[Exception], ...]:
    """The exceptions that torch, safetensors and libraries built on them raise for unusable weights files."""
    import struct
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    of_files = (OSError, EOFError, UnpicklingError, SafetensorError, struct.error)
    of_content = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError)
    return (*of_files, *of_content, ImportError, MemoryError)


def first_line(error: Exception) -> str:
    """The first line of an error's message; messages of model libraries can be a hundred lines long.

    Sentences that advise switching off a safeguard are removed: a file that needs that must not be loaded.
    """
    line = next((line for line in str(error).splitlines() if line.strip()), "")
    kept = [sentence for sentence in SENTENCE_END.split(line) if not ADVICE.search(sentence)]
    return " ".join(kept) or type(error).__name__

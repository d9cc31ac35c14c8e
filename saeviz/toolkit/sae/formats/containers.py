"""Arrays from files, without running any code in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz.toolkit.torch import first_line, loading_errors
from saeviz.values.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


class Inert:
    """Placeholder for a class in a pickle: holds what was stored and has no methods."""


def load_inert(path: Path, *, foreign: Sequence[str] = (), start: int = 0) -> Any:
    """What torch saved in a file, from byte `start` on, read by torch's restricted unpickler.

    `foreign` are full names of classes and functions that the file may refer to. None is imported: for each stands an
    `Inert` class of the same short name. Raises `DataError` for everything else.
    """
    import torch

    stand_ins: list[Any] = [(type(name.rpartition(".")[2], (Inert,), {}), name) for name in foreign]
    try:
        with torch.serialization.safe_globals(stand_ins):
            source = BytesIO(path.read_bytes()[start:]) if start else path
            return torch.load(source, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}") from error
    except loading_errors() as error:
        raise DataError(f"{path} {_why(path, str(error))}") from error


def read_tensors(path: Path, *, foreign: Sequence[str] = (), start: int = 0) -> dict[str, Tensor]:
    """The arrays by name, from a plain state dict or from `{"cfg": ..., "state_dict": ...}`; see `load_inert`."""
    import torch

    content = load_inert(path, foreign=foreign, start=start)
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise DataError(f"{path} holds no state dict of arrays")
    return {str(name): value.detach() for name, value in content.items()}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The arrays by name. Raises `DataError` if the file is not in this format."""
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except loading_errors() as error:
        raise DataError(f"{path} cannot be read as safetensors: {first_line(error)}") from error


def expect_arrays(
    tensors: dict[str, Tensor], names: Collection[str], path: Path, kind: str, optional: Collection[str] = ()
) -> None:
    """Raise `DataError` unless the arrays are exactly `names`, plus any of the `optional` ones."""
    if set(tensors) - set(optional) != set(names) - set(optional) or not set(names) <= set(tensors):
        found = ", ".join(sorted(tensors)) or "nothing"
        raise DataError(f"{path} is not {kind}: it holds {found} where {', '.join(names)} belong")


def times_norms(w_enc: Tensor, b_enc: Tensor, norms: Tensor) -> tuple[Tensor, Tensor]:
    """An encoder `[d_in, d_sae]`, `[d_sae]` with its features times `norms`. Raises `ValueError` for other shapes."""
    if b_enc.shape != norms.shape:  # one number would be taken for all features
        raise ValueError(f"the encoder has a bias of shape {list(b_enc.shape)}, the decoder {len(norms)} features")
    return w_enc * norms, b_enc * norms


def _why(path: Path, message: str) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not the weights; get the real file (git lfs pull)"
    if "GLOBAL" in message:
        foreign = message.split("GLOBAL ", 1)[1].split(" ", 1)[0]
        return f"is refused: it wants to run {foreign!r}, and weights must be plain arrays"
    return "is not a file of weights that torch can read"

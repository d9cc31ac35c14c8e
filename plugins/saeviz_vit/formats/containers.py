"""Arrays out of a file that torch saved, without running anything that the file brings along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz import DataError
from saeviz.toolkit.torch import first_line, loading_errors

if TYPE_CHECKING:
    from torch import Tensor


class Inert:
    """Stands in for a class of a pickle: holds what was stored, does nothing, has no methods."""


def read_tensors(path: Path, *, inert: str) -> dict[str, Tensor]:
    """The arrays by name, from a plain state dict or from `{"cfg": ..., "state_dict": ...}`.

    Only torch's restricted unpickler is used; `inert` is the full name of the one class of the file's own
    that it may meet, and that class is not imported. Raises `DataError` for everything else.
    """
    import torch

    try:
        with torch.serialization.safe_globals([(Inert, inert)]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}") from error
    except loading_errors() as error:
        raise DataError(f"{path} {_why(path, str(error))}") from error
    return _tensors(path, content)


def _tensors(path: Path, content: Any) -> dict[str, Tensor]:
    import torch

    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise DataError(f"{path} holds no state dict of arrays")
    return {str(name): value.detach() for name, value in content.items()}


def _why(path: Path, message: str) -> str:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "is a git-lfs pointer, not the weights; get the real file (git lfs pull)"
    if "GLOBAL" in message:
        foreign = message.split("GLOBAL ", 1)[1].split(" ", 1)[0]
        return f"is refused: it wants to run {foreign!r}, and weights must be plain arrays"
    return "is not a file of weights that torch can read"

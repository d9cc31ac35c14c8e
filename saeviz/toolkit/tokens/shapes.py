"""What the `tokens` of an extractor gives, checked at once, so that a mistake is named where it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from saeviz.toolkit.sae.options import HookPoint
from saeviz.toolkit.tokens.model import TokenGrid
from saeviz.values.errors import PluginError

if TYPE_CHECKING:
    from torch import Tensor


def checked_grids(
    who: str, found: Sequence[Tensor | TokenGrid], points: Sequence[HookPoint], pixels: Tensor
) -> list[TokenGrid]:
    """One `TokenGrid` per hook point. Raises `PluginError` that says what belongs there instead."""
    import torch

    if not isinstance(found, list | tuple) or isinstance(found, TokenGrid):
        raise PluginError(
            f"{who}.tokens gives a {type(found).__name__} instead of a list with one entry per hook point"
        )
    grids = [tokens if isinstance(tokens, TokenGrid) else TokenGrid(tokens) for tokens in found]
    if len(grids) != len(points):
        raise PluginError(f"{who}.tokens gives {len(grids)} arrays for {len(points)} hook points")
    for point, grid in zip(points, grids, strict=True):
        where = f"{who}.tokens at {point.layer if point.layer is not None else point.hook}"
        if grid.patches is None and grid.cls is None:
            raise PluginError(f"{where} gives neither patches nor a class token")
        for name, tokens, shape in (("patches", grid.patches, "n, rows, cols, d"), ("cls", grid.cls, "n, d")):
            if tokens is not None and not isinstance(tokens, torch.Tensor):
                raise PluginError(f"{where} gives a {type(tokens).__name__} as {name}; a tensor belongs there")
            if tokens is not None and (tokens.ndim != shape.count(",") + 1 or len(tokens) != len(pixels)):
                given = f"{name} of shape {tuple(tokens.shape)} for {len(pixels)} images"
                raise PluginError(f"{where} gives {given}; [{shape}] belongs there")
    return grids

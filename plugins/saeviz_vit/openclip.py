"""The image tower of open_clip: its tokens, and how the library is used."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeviz import DataError, PluginError
from saeviz.toolkit.tokens import HookPoint, TokenGrid, recorded

if TYPE_CHECKING:
    from torch import Tensor


EMBEDDING = HookPoint(None, "embedding")
ADDED = {"attn_out": "ls_1", "mlp_out": "ls_2"}
"""Parts of a block whose output is added to the residual stream."""


def tokens_at(visual: Any, pixels: Tensor, points: Sequence[HookPoint]) -> list[TokenGrid]:
    """The tokens of an image tower at some hook points; blocks after the last layer are not computed."""
    found = _read(visual, pixels, points, _layers(visual, points))
    return [found[point] for point in points]


def class_tokens_at(visual: Any, pixels: Tensor, points: Sequence[HookPoint]) -> list[Tensor]:
    """The class tokens alone, `[n, d]`: the last block is computed for them only."""
    layers = _layers(visual, points)
    last, block = layers[-1], visual.transformer.resblocks[layers[-1]]
    whole = EMBEDDING in points
    shortened = not whole and last > 0 and hasattr(block, "attention")
    found = _read(visual, pixels, points, sorted({*layers[:-1], last - 1}) if shortened else layers)
    if shortened:
        found |= _class_token_after(last, block, found[HookPoint(last - 1)].joined)
    return [tokens for point in points if (tokens := found[point].cls) is not None]


def _layers(visual: Any, points: Sequence[HookPoint]) -> list[int]:
    layers = sorted({point.layer for point in points if isinstance(point.layer, int)})
    return layers or [len(visual.transformer.resblocks) - 1]


def _read(visual: Any, pixels: Tensor, points: Sequence[HookPoint], layers: list[int]) -> dict[HookPoint, TokenGrid]:
    """What the blocks `layers` give, and those of `points` that are inside of these blocks or are the embedding."""
    blocks, whole = visual.transformer.resblocks, EMBEDDING in points
    inside = [point for point in points if point.hook in ADDED and point.layer in layers]
    with recorded({point: getattr(blocks[point.layer], ADDED[point.hook]) for point in inside}) as states:
        seen = visual.forward_intermediates(
            pixels,
            indices=layers,
            stop_early=not whole,
            intermediates_only=not whole,
            output_fmt="NLC",
            output_extra_tokens=True,
        )
    tokens = zip(layers, seen["image_intermediates_prefix"], seen["image_intermediates"], strict=True)
    found = {HookPoint(layer): _grid(visual, len(pixels), cls, patches) for layer, cls, patches in tokens}
    found |= {point: _grid(visual, len(pixels), x[:, :1], x[:, 1:]) for point, x in states.items()}
    if whole:
        found[EMBEDDING] = TokenGrid(None, seen["image_features"])
    return found


def _class_token_after(layer: int, block: Any, x: Tensor) -> dict[HookPoint, TokenGrid]:
    """The class token in a residual attention block: it attends to all tokens, and only its output is computed."""
    normal = block.ln_1(x)
    attended = block.ls_1(block.attention(normal[:, :1], normal, normal))
    cls = x[:, :1] + attended
    added = block.ls_2(block.mlp(block.ln_2(cls)))
    found = {
        HookPoint(layer, "attn_out"): attended,
        HookPoint(layer, "mlp_out"): added,
        HookPoint(layer): cls + added,
    }
    return {point: TokenGrid(None, tokens[:, 0]) for point, tokens in found.items()}


def _grid(visual: Any, n: int, cls: Tensor, patches: Tensor) -> TokenGrid:
    (rows, columns), width = visual.grid_size, visual.conv1.out_channels
    for states, tokens in ((cls, 1), (patches, rows * columns)):
        found, expected = tuple(states.shape), (n, tokens, width)
        if found != expected:
            raise PluginError(f"open_clip gives activations of shape {found} instead of {expected}")
    return TokenGrid(patches.reshape(-1, rows, columns, width), cls[:, 0])


def import_open_clip() -> Any:
    """The library. Raises `PluginError` if it does not fit the torch that is installed."""
    try:
        import open_clip
    except RuntimeError as error:
        raise PluginError(f"open_clip cannot be imported; install torch and torchvision together: {error}") from error
    return open_clip


@contextmanager
def untouched_logging() -> Iterator[None]:
    """Keep open_clip from adding a handler to the root logger, which would stay for the rest of the process."""
    before = logging.root.handlers[:]
    try:
        yield
    finally:
        logging.root.handlers[:] = before


def read_folder_config(path: Path, option: str) -> dict[str, Any]:
    """`model_cfg` of a folder in open_clip's layout. Raises `DataError` for an image tower that is not open_clip's."""
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model_cfg"]
        sizes = [config["vision_cfg"][key] for key in ("width", "layers")]
        config["text_cfg"].get("hf_model_name")
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DataError(f"{option}: {path} is not the config of an open_clip model: {error!r}") from error
    if not all(isinstance(size, int) for size in sizes):
        raise DataError(f"{option}: {path} does not describe a vision transformer (vision_cfg.layers is not a number)")
    if "timm_model_name" in config["vision_cfg"]:
        raise DataError(f"{option}: {path} has an image tower of timm (timm_model_name); only open_clip's own are read")
    return config

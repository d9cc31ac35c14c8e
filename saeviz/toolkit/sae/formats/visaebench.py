"""The SAEs of visaebench: `config.json` beside `sae.pt`, trained on patches whose activations were standardised.

Followed is visaebench 0.1.0. Mean and standard deviation of the activations are part of what an SAE computes, but not
of its files: they are read from a `stats.json` beside them, as that project's cache of activations has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, PositiveInt, model_validator

from saeviz.contract.saes import SAEConfig, SAEWeights
from saeviz.toolkit.sae.formats.containers import expect_arrays, read_tensors
from saeviz.toolkit.sae.formats.reading import checked, read_json
from saeviz.values.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_NAMES: tuple[str, ...] = ("config.json",)
WEIGHTS_NAMES: tuple[str, ...] = ("sae.pt",)
STATS = "stats.json"
KINDS = ("batchtopk", "topk", "jumprelu")
RENAMED = {"sae_type": "activation", "architecture": "activation", "d_model": "input_dim", "dict_size": "hidden_dim"}
"""Keys of its trainer, by their names in the published files."""

OPTIONAL = ("_running_threshold", "decoder.bias", "dictionary.multiplier", "dictionary._fused_dictionary")
PLAIN = ("encoder.weight", "encoder.bias", "decoder.weight")
OVERCOMPLETE = ("encoder.final_block.0.weight", "encoder.final_block.0.bias", "dictionary._weights")
"""The same three arrays as the library overcomplete calls them, with which these SAEs are trained."""

BACKBONES = {
    "clip_vitb16": "openai/clip-vit-base-patch16",
    "siglip_vitb16": "google/siglip-base-patch16-224",
    "dinov2_vitb14": "facebook/dinov2-base",
    "mae_vitb16": "facebook/vit-mae-base",
    "deit_vitb16": "facebook/deit-base-patch16-224",
}
"""The same weights on the hub; MAE and DeiT are those of timm there, which crops where these resize."""


class VisaebenchConfig(BaseModel):
    """The keys that decide what the numbers mean."""

    activation: Literal["batchtopk", "topk"]
    input_dim: PositiveInt
    hidden_dim: PositiveInt
    k: PositiveInt | None = None
    threshold: FiniteFloat | None = None
    backbone: str | None = None
    activation_dir: str = ""

    @model_validator(mode="after")
    def _top_k_says_how_many(self) -> VisaebenchConfig:
        if self.activation == "topk" and not 1 <= (self.k or 0) <= self.hidden_dim:
            raise ValueError(f"k must be 1 to {self.hidden_dim} where activation is 'topk'")
        return self


class Stats(BaseModel):
    """Mean and standard deviation of the activations that it was trained on."""

    mean: list[FiniteFloat]
    std: Annotated[FiniteFloat, Field(gt=0)]


def claims(path: Path) -> bool:
    """A `config.json` that names one of its activations and a size."""
    if path.name not in CONFIG_NAMES:
        return False
    config = _renamed(read_json(path))
    return _lower(config.get("activation")) in KINDS and bool({"input_dim", "hidden_dim"} & config.keys())


def read_config(path: Path) -> SAEConfig:
    """Raises `DataError` that names the key if something is missing, unknown or not supported."""
    config = _config(path)
    layer = re.search(r"layer_(\d+)(?:/|$)", config.activation_dir)
    return SAEConfig(
        model_name=BACKBONES.get(config.backbone or "", config.backbone),
        layer=int(layer[1]) if layer else None,
        hook="hook_resid_post",
        d_in=config.input_dim,
        d_sae=config.hidden_dim,
        trained_on="patches",
        k=config.k if config.activation == "topk" else None,
        subtracts_b_dec=False,
    )


def read_weights(path: Path) -> SAEWeights:
    """The arrays, for activations that are not standardised. Raises `DataError` if anything is missing."""
    import torch

    config = _config(path.with_name(CONFIG_NAMES[0]))
    tensors = read_tensors(path)
    names = PLAIN if PLAIN[0] in tensors else OVERCOMPLETE
    expect_arrays(tensors, names, path, "an SAE of visaebench", OPTIONAL)
    w_enc, b_enc, w_dec = (tensors[name].float() for name in names)
    multiplier = tensors.get("dictionary.multiplier")
    if multiplier is not None:
        w_dec = w_dec * multiplier.float().exp()
    b_dec = tensors.get("decoder.bias", torch.zeros(w_dec.shape[-1:])).float()
    stats = _stats(path.with_name(STATS), config.input_dim)
    mean = torch.tensor(stats.mean)
    if b_dec.shape != mean.shape:
        raise DataError(f"{path}: decoder.bias has shape {list(b_dec.shape)}, but the config says {config.input_dim}")
    threshold = _threshold(config, tensors, path) if config.activation == "batchtopk" else None
    return SAEWeights(w_enc.T / stats.std, b_enc, w_dec * stats.std, b_dec * stats.std + mean, threshold, centre=mean)


def _config(path: Path) -> VisaebenchConfig:
    config = _renamed(read_json(path))
    width, factor = config.get("input_dim"), config.get("expansion_factor")
    if "hidden_dim" not in config and isinstance(width, int) and isinstance(factor, int):
        config["hidden_dim"] = width * factor
    return checked(VisaebenchConfig, {**config, "activation": _lower(config.get("activation"))}, path)


def _renamed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {**{RENAMED[key]: value for key, value in config.items() if key in RENAMED}, **config}


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _stats(path: Path, width: int) -> Stats:
    if not path.is_file():
        raise DataError(
            f"{path.parent} has no {STATS}: this SAE was trained on standardised activations, and its files do not "
            f"hold their mean and standard deviation; put a {STATS} beside them with the keys mean ({width} numbers) "
            "and std (one number), measured on the activations that it was trained on"
        )
    stats = checked(Stats, read_json(path), path)
    if len(stats.mean) != width:
        raise DataError(f"{path}: mean has {len(stats.mean)} numbers, but the SAE has input_dim = {width}")
    return stats


def _threshold(config: VisaebenchConfig, tensors: Mapping[str, Tensor], path: Path) -> Tensor:
    """Just below what the file has: there a value that equals the threshold fires."""
    import torch

    running = tensors.get("_running_threshold")
    if config.threshold is None and (running is None or running.numel() != 1):
        raise DataError(
            f"{path} has no running threshold, nor has its config; without one every positive value would fire"
        )
    threshold = torch.tensor(config.threshold) if running is None or config.threshold is not None else running
    below = torch.nextafter(threshold.float().reshape(()), torch.tensor(-torch.inf))
    return below.expand(config.hidden_dim)

"""The SAEs of SAELens: `cfg.json` beside `sae_weights.safetensors`.

Followed is the layout of SAELens 6 (read in 6.54), where model and hook are in `metadata`, and the flat one of earlier
versions with the names of keys that SAELens itself translates.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, StrictBool, model_validator

from saeviz.contract.saes import SAEConfig, SAEWeights, TrainedOn
from saeviz.toolkit.sae.formats.containers import expect_arrays, read_safetensors, times_norms
from saeviz.toolkit.sae.formats.reading import checked, read_json
from saeviz.values.errors import DataError

CONFIG_NAMES: tuple[str, ...] = ("cfg.json",)
WEIGHTS_NAMES: tuple[str, ...] = ("sae_weights.safetensors",)
ARRAYS = ("W_enc", "b_enc", "W_dec", "b_dec")


class Metadata(BaseModel):
    """What it was trained on."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    hook_name: str
    seqpos_slice: list[int | None] | None = None


class SAELensConfig(BaseModel):
    """The keys of `cfg.json` that decide what the numbers mean."""

    d_in: PositiveInt
    d_sae: PositiveInt
    architecture: Literal["standard", "topk", "jumprelu"]
    apply_b_dec_to_input: StrictBool
    normalize_activations: Literal["none", "layer_norm", "constant_norm_rescale"]
    """`expected_average_only_in` and `covariance_whitening` are of SAEs whose scale is not folded in yet."""

    activation_fn: Literal["relu", "topk"] = "relu"
    reshape_activations: Literal["none"] = "none"
    k: PositiveInt | None = None
    rescale_acts_by_decoder_norm: StrictBool = False
    """Top-k is taken of the pre-activations times the norm of their decoder row."""

    metadata: Metadata

    @model_validator(mode="after")
    def _top_k_says_how_many(self) -> SAELensConfig:
        if self.architecture == "topk" and not 1 <= (self.k or 0) <= self.d_sae:
            raise ValueError(f"k must be 1 to {self.d_sae} where architecture is 'topk'")
        return self


def claims(path: Path) -> bool:
    """By its name, which no other format uses."""
    return path.name in CONFIG_NAMES


def read_config(path: Path) -> SAEConfig:
    """Raises `DataError` that names the file and the key if something is missing, unknown or not supported."""
    config = _config(path)
    hook = re.fullmatch(r"blocks\.(\d+)\.(\w+)", config.metadata.hook_name)
    return SAEConfig(
        model_name=config.metadata.model_name,
        layer=int(hook[1]) if hook else None,
        hook=hook[2] if hook else config.metadata.hook_name,
        d_in=config.d_in,
        d_sae=config.d_sae,
        trained_on=_trained_on(config.metadata.seqpos_slice),
        normalization=None if config.normalize_activations == "none" else config.normalize_activations,
        k=config.k if config.architecture == "topk" else None,
        subtracts_b_dec=config.apply_b_dec_to_input,
    )


def read_weights(path: Path) -> SAEWeights:
    """Raises `DataError` unless the file holds exactly the arrays of its architecture."""
    config = _config(path.with_name(CONFIG_NAMES[0]))
    tensors = read_safetensors(path)
    names = (*ARRAYS, "threshold") if config.architecture == "jumprelu" else ARRAYS
    scale = tensors.pop("scaling_factor", None)
    if scale is not None and not bool((scale == 1).all()):
        raise DataError(f"{path} has a scaling_factor that is not folded in; fold it and save the SAE again")
    expect_arrays(tensors, names, path, f"an SAE of the architecture {config.architecture}")
    weights = SAEWeights(**tensors)
    return _rescaled(weights) if config.rescale_acts_by_decoder_norm else weights


def _config(path: Path) -> SAELensConfig:
    data = read_json(path)
    return checked(SAELensConfig, data if "metadata" in data else _as_version_6(data), path)


def _as_version_6(old: dict[str, Any]) -> dict[str, Any]:
    new = dict(old)
    for before, after in (("hook_point", "hook_name"), ("activation_fn_str", "activation_fn")):
        if before in new:
            new.setdefault(after, new[before])
    if "topk" in (new.get("activation_fn"), new.get("architecture")):
        if new.get("architecture") == "standard":
            new["architecture"] = "topk"
        options = new.get("activation_fn_kwargs")
        if new.get("k") is None and isinstance(options, dict):
            new["k"] = options.get("k")
    if "normalize_activations" in new and not new["normalize_activations"]:
        new["normalize_activations"] = "none"
    return {**new, "metadata": new}


def _trained_on(seqpos: list[int | None] | None) -> TrainedOn | None:
    """The slice of positions that was trained on; position 0 is the class token."""
    if seqpos is None:
        return None
    positions = range(1000)[slice(*seqpos)]
    if 0 not in positions:
        return "patches"
    return "cls" if len(positions) == 1 else "all"


def _rescaled(weights: SAEWeights) -> SAEWeights:
    norms = weights.W_dec.float().norm(dim=-1)
    w_enc, b_enc = times_norms(weights.W_enc, weights.b_enc, norms)
    return SAEWeights(w_enc, b_enc, weights.W_dec / norms[:, None], weights.b_dec)

"""The top-k SAE of CLIP's image embedding of Wolf et al.: `config.json` beside `model.safetensors`.

Followed is `TopKSAE` of their repository ttt_theory, saved by the hub's mixin. It was trained on embeddings of length 1
and says nothing about the CLIP that they come from.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, PositiveInt, StrictBool, model_validator

from saeviz.contract.saes import SAEConfig, SAEWeights
from saeviz.toolkit.sae.formats.containers import expect_arrays, read_safetensors
from saeviz.toolkit.sae.formats.reading import checked, read_json

CONFIG_NAMES: tuple[str, ...] = ("config.json",)
WEIGHTS_NAMES: tuple[str, ...] = ("model.safetensors",)
ARRAYS = ("W_enc", "b_enc", "W_dec")
COUNTS = ("feature_counts", "total_samples")
"""What it counted in training."""

LEAST_NORM = 1e-12


class ClipTopKConfig(BaseModel):
    """The keys that decide what the numbers mean."""

    input_dim: PositiveInt
    hidden_dim: PositiveInt
    k: PositiveInt
    normalize_decoder: StrictBool
    decoder_bias: StrictBool

    @model_validator(mode="after")
    def _not_more_than_all(self) -> ClipTopKConfig:
        if self.k > self.hidden_dim:
            raise ValueError(f"k must be 1 to {self.hidden_dim}")
        return self


def claims(path: Path) -> bool:
    """A `config.json` with the two keys that only this class has."""
    return path.name in CONFIG_NAMES and {"hidden_dim", "normalize_decoder"} <= read_json(path).keys()


def read_config(path: Path) -> SAEConfig:
    """Raises `DataError` that names the key if something is missing."""
    config = checked(ClipTopKConfig, read_json(path), path)
    return SAEConfig(
        hook="hook_embedding",
        d_in=config.input_dim,
        d_sae=config.hidden_dim,
        normalization="unit_norm",
        k=config.k,
        subtracts_b_dec=False,
    )


def read_weights(path: Path) -> SAEWeights:
    """Raises `DataError` unless the file holds exactly the arrays that its config announces."""
    import torch

    config = checked(ClipTopKConfig, read_json(path.with_name(CONFIG_NAMES[0])), path.with_name(CONFIG_NAMES[0]))
    tensors = read_safetensors(path)
    names = (*ARRAYS, "b_dec") if config.decoder_bias else ARRAYS
    expect_arrays(tensors, names, path, "the TopKSAE of its config", COUNTS)
    w_dec = tensors["W_dec"].float()
    if config.normalize_decoder:
        w_dec = w_dec / w_dec.norm(dim=-1, keepdim=True).clamp(min=LEAST_NORM)
    b_dec = tensors.get("b_dec", torch.zeros(w_dec.shape[-1:]))
    return SAEWeights(tensors["W_enc"], tensors["b_enc"], w_dec, b_dec)

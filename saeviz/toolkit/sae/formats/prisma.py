"""The SAEs of ViT-Prisma: `config.json` beside `weights.pt`, or `n_images_N.pt` for N images of training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, StrictBool, StrictInt, model_validator

from saeviz.contract.saes import SAEConfig, SAEWeights, TrainedOn
from saeviz.toolkit.sae.formats.containers import expect_arrays, read_tensors
from saeviz.toolkit.sae.formats.reading import checked, read_json

CONFIG_NAMES: tuple[str, ...] = ("config.json",)
WEIGHTS_NAMES: tuple[str, ...] = ("weights.pt", "n_images_2600058.pt")
CHECKPOINT = re.compile(r"n_images_(\d+)\.pt")
CONFIG_CLASS = "vit_prisma.sae.config.VisionModelSAERunnerConfig"
ARRAYS = ("W_enc", "b_enc", "W_dec", "b_dec")


class PrismaConfig(BaseModel):
    """The keys of `config.json` that decide what the numbers mean.

    None has a default: that library's own defaults (top-k, layer_norm, x16) belong to other SAEs.
    """

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    hook_point_layer: StrictInt
    layer_subtype: str
    d_in: PositiveInt
    d_sae: PositiveInt
    cls_token_only: StrictBool
    use_patches_only: StrictBool
    normalize_activations: Literal["layer_norm", "constant_norm_rescale", "none"] | None
    activation_fn_str: Literal["relu", "topk"]
    activation_fn_kwargs: dict[str, Any] | None = None
    architecture: Literal["standard"] = "standard"
    """Left out by older files; that the weights are the four of a standard SAE is checked as well."""

    is_transcoder: Literal[False] = False
    """A transcoder has the same arrays, but reconstructs a different place than it reads."""

    context_size: PositiveInt | None = None
    """Number of tokens per image in training; 1 means the class token, whatever the flags say."""

    image_size: PositiveInt | None = None

    @property
    def trained_on(self) -> TrainedOn:
        """The tokens that the SAE was trained on."""
        if self.cls_token_only or self.context_size == 1:
            return "cls"
        return "patches" if self.use_patches_only else "all"

    @model_validator(mode="after")
    def _top_k_says_how_many(self) -> PrismaConfig:
        if self.activation_fn_str == "topk":
            k = (self.activation_fn_kwargs or {}).get("k")
            if not isinstance(k, int) or not 1 <= k <= self.d_sae:
                raise ValueError(f"activation_fn_kwargs.k must be 1 to {self.d_sae} where activation_fn_str is 'topk'")
        return self


def claims(path: Path) -> bool:
    """A `config.json` with any of the needed keys; which are missing is said when it is read."""
    needed = {name for name, field in PrismaConfig.model_fields.items() if field.is_required()}
    return path.name in CONFIG_NAMES and not needed.isdisjoint(read_json(path))


def read_config(path: Path) -> SAEConfig:
    """Raises `DataError` that names the file and the key if something is missing or unknown."""
    config = checked(PrismaConfig, _with_d_sae(read_json(path)), path)
    top_k = config.activation_fn_kwargs if config.activation_fn_str == "topk" else None
    return SAEConfig(
        model_name=config.model_name,
        layer=config.hook_point_layer,
        # The DINO repositories write resid_post, all others hook_resid_post.
        hook=f"hook_{config.layer_subtype.removeprefix('hook_')}",
        d_in=config.d_in,
        d_sae=config.d_sae,
        trained_on=config.trained_on,
        normalization=None if config.normalize_activations == "none" else config.normalize_activations,
        k=top_k["k"] if top_k else None,
        image_size=config.image_size,
        n_tokens=config.context_size,
    )


def _with_d_sae(data: dict[str, Any]) -> dict[str, Any]:
    """With the number of features, which that library's own trainer does not write: there it is computed."""
    factor, d_in = data.get("expansion_factor"), data.get("d_in")
    if data.get("d_sae") is None and isinstance(factor, int) and isinstance(d_in, int):
        return {**data, "d_sae": factor * d_in}
    return data


def read_weights(path: Path) -> SAEWeights:
    """Raises `DataError` unless the file holds exactly the arrays of a standard SAE."""
    tensors = read_tensors(path, foreign=[CONFIG_CLASS])
    expect_arrays(tensors, ARRAYS, path, "a standard SAE")
    return SAEWeights(**tensors)

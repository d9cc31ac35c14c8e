"""The SAEs of ViT-Prisma: `config.json` beside `weights.pt` or `n_images_2600058.pt`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, StrictBool, StrictInt, ValidationError, model_validator

from saeviz import DataError
from saeviz_vit.formats.containers import read_tensors
from saeviz_vit.sae import SAEConfig, SAEWeights

CONFIG_NAMES: tuple[str, ...] = ("config.json",)
WEIGHTS_NAMES: tuple[str, ...] = ("weights.pt", "n_images_2600058.pt")
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

    context_size: StrictInt | None = None
    """Tokens of an image that were used; 1 is the class token, whatever the flags say."""

    @property
    def trained_on(self) -> Literal["all", "cls", "patches"]:
        """The tokens that the SAE has seen."""
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


def read_config(path: Path) -> SAEConfig:
    """Raises `DataError` that names the file and the key where something is missing or unknown."""
    try:
        config = PrismaConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise DataError(f"{path}: {_explain(error)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    top_k = config.activation_fn_kwargs if config.activation_fn_str == "topk" else None
    return SAEConfig(
        model_name=config.model_name,
        layer=config.hook_point_layer,
        hook=config.layer_subtype,
        d_in=config.d_in,
        d_sae=config.d_sae,
        trained_on=config.trained_on,
        normalization=None if config.normalize_activations == "none" else config.normalize_activations,
        k=top_k["k"] if top_k else None,
    )


def read_weights(path: Path) -> SAEWeights:
    """Raises `DataError` where the file does not hold exactly the arrays of a standard SAE."""
    tensors = read_tensors(path, inert=CONFIG_CLASS)
    if set(tensors) != set(ARRAYS):
        found = ", ".join(sorted(tensors)) or "nothing"
        raise DataError(f"{path} is not a standard SAE: it holds {found} where {', '.join(ARRAYS)} belong")
    return SAEWeights(**tensors)


def _explain(error: ValidationError) -> str:
    problems = []
    for detail in error.errors():
        key = ".".join(map(str, detail["loc"]))
        if detail["type"] == "missing":
            problems.append(f"the key {key!r} is missing, and a default would be a guess; add it")
        else:
            reason = detail["msg"].removeprefix("Value error, ")
            shown = f" (found {detail['input']!r:.60})" if key else ""
            problems.append(f"{key}: {reason}{shown}" if key else reason)
    return "; ".join(problems)
